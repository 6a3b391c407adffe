"""The table of corruptions: name to function. Their constants are in ``_constants``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from kdbench.corruptions import blur, colour, digital, noise, weather
from kdbench.corruptions._constants import SEVERITIES, Constants
from kdbench.corruptions.spatter import spatter
from kdbench.errors import KdbenchError, unknown_name


@dataclass(frozen=True)
class CorruptionKind:
    """One corruption.

    ``function(pixels, constants, generator)`` takes and returns float32 (N, 3, S, S) on the scale 0 ... 255; its
    result is clipped and truncated by the caller.
    """

    function: Callable[[Tensor, Constants, torch.Generator], Tensor]
    deterministic: bool = False


# The order is that of the published benchmark: the 15 main corruptions, then the 4 extra ones.
TABLE: dict[str, CorruptionKind] = {
    "gaussian_noise": CorruptionKind(noise.gaussian_noise),
    "shot_noise": CorruptionKind(noise.shot_noise),
    "impulse_noise": CorruptionKind(noise.impulse_noise),
    "defocus_blur": CorruptionKind(blur.defocus_blur, deterministic=True),
    "glass_blur": CorruptionKind(blur.glass_blur),
    "motion_blur": CorruptionKind(blur.motion_blur),
    "zoom_blur": CorruptionKind(blur.zoom_blur, deterministic=True),
    "snow": CorruptionKind(weather.snow),
    "frost": CorruptionKind(weather.frost),
    "fog": CorruptionKind(weather.fog),
    "brightness": CorruptionKind(colour.brightness, deterministic=True),
    "contrast": CorruptionKind(colour.contrast, deterministic=True),
    "elastic_transform": CorruptionKind(digital.elastic_transform),
    "pixelate": CorruptionKind(digital.pixelate, deterministic=True),
    "jpeg_compression": CorruptionKind(digital.jpeg_compression, deterministic=True),
    "speckle_noise": CorruptionKind(noise.speckle_noise),
    "gaussian_blur": CorruptionKind(blur.gaussian_blur, deterministic=True),
    "spatter": CorruptionKind(spatter),
    "saturate": CorruptionKind(colour.saturate, deterministic=True),
}

NAMES: tuple[str, ...] = tuple(TABLE)
"""The 19 corruptions."""

DETERMINISTIC: frozenset[str] = frozenset(name for name, entry in TABLE.items() if entry.deterministic)
"""The 8 of them that draw nothing."""


def check_name(name: str) -> None:
    """Raise the KdbenchError for a name that isn't one of ``NAMES``, with the nearest that is."""
    if not isinstance(name, str):
        raise KdbenchError(f"name of a corruption is {name!r}, expected a string", f"such as '{NAMES[0]}'")
    if name not in TABLE:
        raise unknown_name("corruption", name, TABLE)


def check_severity(severity: int) -> None:
    """Raise the KdbenchError for a severity that isn't a whole number (NumPy's included) from 1 to 5."""
    if not isinstance(severity, Integral) or isinstance(severity, bool) or severity not in SEVERITIES:
        raise KdbenchError(f"severity is {severity!r}, expected a whole number from 1 to 5", "1 is the mildest")
