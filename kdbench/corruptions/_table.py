"""The table of corruptions: name, function and constants. Source: Hendrycks & Dietterich 2019, make_cifar_c.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from kdbench.corruptions import blur, colour, digital, noise, weather
from kdbench.corruptions.spatter import spatter
from kdbench.errors import KdbenchError, unknown_name

Constants = tuple[float, ...]


@dataclass(frozen=True)
class CorruptionKind:
    """One corruption.

    ``function(pixels, constants, generator)`` takes and returns float32 (N, 3, 32, 32) on the scale 0 ... 255; its
    result is clipped and truncated by the caller. ``constants[s - 1]`` are those of severity s.
    """

    function: Callable[[Tensor, Constants, torch.Generator], Tensor]
    constants: tuple[Constants, Constants, Constants, Constants, Constants]
    deterministic: bool = False


SEVERITIES = (1, 2, 3, 4, 5)

# The order is that of the published benchmark: the 15 main corruptions, then the 4 extra ones.
TABLE: dict[str, CorruptionKind] = {
    "gaussian_noise": CorruptionKind(noise.gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    "shot_noise": CorruptionKind(noise.shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    "impulse_noise": CorruptionKind(noise.impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "defocus_blur": CorruptionKind(  # radius, alias
        blur.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)), deterministic=True
    ),
    "glass_blur": CorruptionKind(  # sigma, distance, passes
        blur.glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
    ),
    "motion_blur": CorruptionKind(blur.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),  # radius, sigma
    "zoom_blur": CorruptionKind(  # end of numpy.arange(1, end, 0.01)
        blur.zoom_blur, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,)), deterministic=True
    ),
    "snow": CorruptionKind(  # mean, std, zoom, threshold, radius, sigma, blend
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": CorruptionKind(weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),  # kept, added
    "fog": CorruptionKind(weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),  # amount, decay
    "brightness": CorruptionKind(colour.brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)), deterministic=True),
    "contrast": CorruptionKind(colour.contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)), deterministic=True),
    "elastic_transform": CorruptionKind(  # alpha, sigma, affine, in units of the side
        digital.elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": CorruptionKind(digital.pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)), deterministic=True),
    "jpeg_compression": CorruptionKind(
        digital.jpeg_compression, ((80,), (65,), (58,), (50,), (40,)), deterministic=True
    ),
    "speckle_noise": CorruptionKind(noise.speckle_noise, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))),
    "gaussian_blur": CorruptionKind(blur.gaussian_blur, ((0.4,), (0.6,), (0.7,), (0.8,), (1,)), deterministic=True),
    "spatter": CorruptionKind(  # mean, std, sigma, threshold, strength, mud
        spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
    ),
    "saturate": CorruptionKind(
        colour.saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), deterministic=True
    ),
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
