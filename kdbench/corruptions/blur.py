"""Blurs: Gaussian, glass, defocus, motion, zoom.

Every function takes ``pixels`` float32 (N, 3, 32, 32) on the scale 0 ... 255, the constants of one severity and a
generator, and returns the same shape and scale. Source: Hendrycks & Dietterich 2019, make_cifar_c.py.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions import _draws, _linear
from kdbench.corruptions._pixels import truncate

_DISK_RADIUS = 8
"""The defocus kernel is drawn on a 17x17 grid, whatever its radius."""


def gaussian_blur(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """G_c(x), the edge pixel repeated beyond the edge."""
    (sigma,) = constants
    return _linear.gaussian_blur(pixels, sigma)


def glass_blur(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Blur to 8 bits, let each pixel take the value of a near one, blur again.

    The script walks from the lower right to the upper left and "exchanges" pixel (h, w) with (h + dy, w + dx), dx and
    dy drawn from {-1, 0}. As the exchange works on array views, it only copies the second to the first: a pixel is
    duplicated, not exchanged. The one copied from lies above or to the left, where the walk hasn't been yet, so all
    pixels can be done at once.
    """
    sigma, distance, passes = constants
    assert distance == 1, "from a distance of 2 the walk would meet pixels that it has changed already"
    pixels = truncate(_linear.gaussian_blur(pixels, sigma))
    for _ in range(int(passes)):
        pixels = _take_neighbours(pixels, generator)
    return _linear.gaussian_blur(pixels, sigma)


def _take_neighbours(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel but the first two rows and columns becomes itself or its left, upper or upper left neighbour."""
    count, channels, height, width = pixels.shape
    choice = _draws.integers((count, height - 2, width - 2), 4, generator, pixels.device)
    index = torch.arange(height * width, device=pixels.device).reshape(1, height, width).repeat(count, 1, 1)
    index[:, 2:, 2:] -= (choice & 1) + width * (choice >> 1)
    flat = index.reshape(count, 1, height * width).expand(count, channels, height * width)
    return pixels.flatten(2).gather(2, flat).reshape(pixels.shape)


def defocus_blur(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """Correlate each channel with a disk whose rim is softened by a 3x3 Gaussian; reflect 101 beyond the edge."""
    radius, alias = constants
    blurred = torch.zeros_like(pixels)
    for rows, columns in _defocus_terms(radius, alias, pixels.shape[-1]):
        blurred += _linear.apply(pixels, rows.to(pixels.device), columns.to(pixels.device))
    return blurred


def defocus_kernel(radius: float, alias: float) -> _linear.FloatArray:
    """The (17, 17) defocus kernel: pixels with i^2 + j^2 <= radius^2, sum 1, then a 3x3 Gaussian of sigma ``alias``.

    >>> float(defocus_kernel(1, 0.2)[8, 8].round(3))
    0.2
    """
    line = np.arange(-_DISK_RADIUS, _DISK_RADIUS + 1)
    disk = (line[:, None] ** 2 + line[None, :] ** 2 <= radius**2).astype(np.float64)
    soften = _linear.filter_matrix(_linear.gaussian_kernel(alias, 1), len(line), "mirror")
    return np.asarray(soften @ (disk / disk.sum()) @ soften.T)


@lru_cache(maxsize=8)
def _defocus_terms(radius: float, alias: float, size: int) -> list[tuple[Tensor, Tensor]]:
    """The kernel as a sum of at most three separable ones (its singular vectors), each as a pair of matrices."""
    left, values, right = np.linalg.svd(defocus_kernel(radius, alias))
    terms = []
    for k in np.flatnonzero(values > 1e-9):
        rows = _linear.filter_matrix(left[:, k] * values[k], size, "mirror")
        terms.append((_linear.as_tensor(rows), _linear.as_tensor(_linear.filter_matrix(right[k], size, "mirror"))))
    return terms


def motion_blur(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Motion blur in a direction from U(-45, 45) degrees, truncated to 8 bits."""
    radius, sigma = constants
    degrees = _draws.uniform((len(pixels),), -45.0, 45.0, generator, pixels.device)
    return blur_along(pixels, int(radius), sigma, degrees)


def blur_along(pixels: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """ImageMagick's motion blur of 8-bit images, each in its own direction.

    A one-sided line of 2 ``radius`` + 1 taps, weights exp(-i^2 / (2 sigma^2)) with sum 1; tap i reads the pixel at
    (ceil(i cos - 1/2), ceil(i sin - 1/2)) from here, beyond the edge the edge pixel.

    Args:
        pixels: float32 (N, C, H, W), whole numbers 0 ... 255.
        radius, sigma: in pixels.
        degrees: (N,) angles, clockwise from the direction of growing column numbers.

    Returns:
        float32 (N, C, H, W), whole numbers 0 ... 255.
    """
    weights = motion_weights(radius, sigma)
    reach = len(weights) - 1
    across, down = motion_offsets(len(weights), degrees)
    padded = torch.nn.functional.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    height, width = pixels.shape[2:]
    # windows[n, :, y, x] is image n displaced by (y - reach, x - reach): a view, copied window by window
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    image = torch.arange(len(pixels), device=pixels.device)
    blurred = pixels * weights[0]
    for tap in range(1, len(weights)):
        blurred.add_(windows[image, :, reach + down[tap], reach + across[tap]], alpha=weights[tap])
    return truncate(blurred)


def motion_weights(radius: int, sigma: float) -> list[float]:
    """The tap weights of ``blur_along``, nearest first, without the far ones that can't change an 8-bit result."""
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    tail = weights[::-1].cumsum()[::-1]
    kept = weights[tail > 1e-6]
    return [float(weight) for weight in kept / kept.sum()]


def motion_offsets(taps: int, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Whole-pixel displacements (across, down), each int64 (taps, N), along the directions ``degrees`` (N,).

    >>> across, down = motion_offsets(4, torch.tensor([45.0]))
    >>> across.flatten().tolist(), down.flatten().tolist()
    ([0, 1, 1, 2], [0, 1, 1, 2])
    """
    angle = torch.deg2rad(degrees.double())
    distance = torch.arange(taps, device=degrees.device, dtype=torch.float64)[:, None]
    across = torch.ceil(distance * torch.cos(angle) - 0.5)
    down = torch.ceil(distance * torch.sin(angle) - 0.5)
    return across.long(), down.long()


def zoom_blur(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """The mean of x and of x zoomed by 1, 1.01, ... (so x counts twice)."""
    (stop,) = constants
    return (pixels.flatten(2) @ _zoom_blur_matrix(stop, pixels.shape[-1]).to(pixels.device)).reshape(pixels.shape)


def zoom_factors(stop: float) -> _linear.FloatArray:
    """1, 1.01, ... as ``numpy.arange`` gives them, whose rounding decides whether ``stop`` is among them.

    >>> [len(zoom_factors(stop)) for stop in (1.06, 1.11, 1.16, 1.21, 1.26)]
    [7, 12, 16, 21, 26]
    """
    return np.arange(1, stop, 0.01)


@lru_cache(maxsize=8)
def _zoom_blur_matrix(stop: float, size: int) -> Tensor:
    """The whole blur as one matrix (size^2, size^2), to be multiplied from the right."""
    factors = zoom_factors(stop)
    total = np.eye(size * size)
    for factor in factors:
        axis = _linear.zoom_matrix(float(factor), size)
        total += np.kron(axis, axis)
    return _linear.as_tensor(total.T / (len(factors) + 1)).contiguous()
