"""``corrupt``: check what was asked for, then run one corruption over the images in chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.corruptions._constants import CONSTANTS, SIZES
from kdbench.corruptions._pixels import to_bytes
from kdbench.corruptions._table import TABLE, CorruptionKind, check_name, check_severity
from kdbench.devices import cpu_without_float64
from kdbench.errors import KdbenchError

CHUNK = 256
"""Images worked on at once: the temporaries of a chunk fit in the cache, whole data sets would not fit in memory."""


@cpu_without_float64
def corrupt(images: Tensor, name: str, severity: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Corrupt ``images`` as CIFAR-C does, larger ones as Tiny ImageNet-C does (Hendrycks & Dietterich 2019).

    Args:
        images: uint8 (N, 3, S, S), RGB, N at least 1, S one of ``SIZES``.
        name: one of ``NAMES``.
        severity: 1 (mildest) to 5.
        generator: source of all randomness, drawn per image; required unless ``name`` is in ``DETERMINISTIC``, ignored
            if it is. It may live on another device than the images; equal states give equal images on the CPU.

    Returns:
        uint8 (N, 3, S, S) on the device of ``images``: the result clipped to [0, 255] and truncated, not rounded.
        Beside the images and the result, memory is held for ``CHUNK`` images at a time.

    Raises:
        KdbenchError: an unknown name, a severity outside 1 ... 5, no images, images that are no tensor or have another
            dtype or shape, a missing generator or one that isn't torch's: all reported before any work.

    >>> grey = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    >>> corrupt(grey, "brightness", 5)[0, :, 0, 0].tolist()  # 100 + 0.3 * 255 = 176.5, truncated
    [176, 176, 176]
    """
    check_name(name)
    check_severity(severity)
    _check_images(images)
    corruption = TABLE[name]
    source = _checked_generator(generator, name, corruption)
    constants = CONSTANTS[images.shape[-1]][name][severity - 1]
    corrupted = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].to(torch.float32, memory_format=torch.contiguous_format)
        corrupted[start : start + CHUNK] = to_bytes(corruption.function(pixels, constants, source))
    return corrupted


def published_sizes() -> str:
    """The sizes of images that there are constants for, in words.

    >>> published_sizes()
    '32x32 (CIFAR-10-C) and 64x64 (Tiny ImageNet-C)'
    """
    return " and ".join(f"{size}x{size} ({benchmark})" for size, benchmark in SIZES.items())


def _shape(size: int) -> str:
    return f"(N, 3, {size}, {size})"


def _checked_generator(generator: torch.Generator | None, name: str, corruption: CorruptionKind) -> torch.Generator:
    if generator is None and corruption.deterministic:
        return torch.Generator()
    if generator is None:
        problem = f"corruption '{name}' is random and got no generator"
    elif not isinstance(generator, torch.Generator):
        problem = f"generator is a {type(generator).__name__}, expected a torch.Generator"
    else:
        return generator
    raise KdbenchError(problem, "pass generator=torch.Generator().manual_seed(...)")


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise KdbenchError(
            f"images to corrupt are a {type(images).__name__}, expected a torch.Tensor",
            "of an array (N, 32, 32, 3): torch.from_numpy(array).permute(0, 3, 1, 2)",
        )
    if images.dtype != torch.uint8:
        raise KdbenchError(
            f"images to corrupt are {images.dtype}, expected torch.uint8",
            "corruptions work on stored pixels 0 ... 255: pass the images before they are scaled to [0, 1]",
        )
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or images.shape[3] not in SIZES:
        raise KdbenchError(
            f"images to corrupt have shape {tuple(images.shape)}, expected {' or '.join(map(_shape, SIZES))}",
            f"constants are published for {published_sizes()} RGB images, channels first",
        )
    if not len(images):
        raise KdbenchError(
            f"no images to corrupt: shape {tuple(images.shape)}, expected N of at least 1",
            "look at what selected them",
        )
