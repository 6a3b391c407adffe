"""Blurs: Gaussian, glass, defocus, motion, zoom.

Every function takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255, the constants of one severity and a
generator, and returns the same shape and scale. Source: see ``_constants``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions import _draws, _linear
from kdbench.corruptions._pixels import truncate

_DENSE = 32
"""Side in pixels up to which the matrix of the zoom blur is dense."""
_DISK_RADIUS = 8
"""The defocus kernel is drawn on a 17x17 grid, whatever its radius."""


def gaussian_blur(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """G_c(x), the edge pixel repeated beyond the edge."""
    (sigma,) = constants
    return _linear.gaussian_blur(pixels, sigma)


def glass_blur(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Blur to 8 bits, let each pixel take the value of a near one, blur again.

    The script walks from the lower right to the upper left and "exchanges" pixel (h, w) with (h + dy, w + dx), dx and
    dy drawn from {-d, ..., d - 1} for a distance d. As the exchange works on array views, it only copies the second to
    the first: a pixel is duplicated, not exchanged.
    """
    sigma, distance, passes = constants
    pixels = truncate(_linear.gaussian_blur(pixels, sigma))
    for _ in range(int(passes)):
        pixels = _take_neighbours(pixels, int(distance), generator)
    return _linear.gaussian_blur(pixels, sigma)


def _take_neighbours(pixels: Tensor, distance: int, generator: torch.Generator) -> Tensor:
    """Each pixel from row and column ``distance`` + 1 up to S - ``distance`` takes the value of the one drawn for it.

    At a distance of 1 that one lies above or to the left, where the walk hasn't been yet, so all pixels can be done at
    once. From 2 on it may have been there: then what counts is the one that it took its own value from.
    """
    assert distance in (1, 2), "a draw's low bits are the step across, its high bits the step down"
    count, channels, height, width = pixels.shape
    size, reach = height * width, 2 * distance
    choice = _draws.integers((count, height - reach, width - reach), reach**2, generator, pixels.device)
    walked = slice(distance + 1, height - distance + 1)
    place = torch.arange(size, device=pixels.device).reshape(1, height, width)
    furthest = place.clone()
    furthest[:, walked, walked] += (distance - 1) * (width + 1)
    source = furthest.repeat(count, 1, 1)
    source[:, walked, walked] -= (choice & (reach - 1)) + width * (choice >> distance)
    if distance > 1:
        source = _settled(source, place, walked)
    flat = source.reshape(count, 1, size).expand(count, channels, size)
    return pixels.flatten(2).gather(2, flat).reshape(pixels.shape)


def _settled(source: Tensor, place: Tensor, walked: slice) -> Tensor:
    """Where each pixel's value comes from in the end: ``source`` (N, S, S), followed as long as it is a pixel that the
    walk has changed before.

    Args:
        source: int64, the flat position that each pixel copies.
        place: int64 (1, S, S), its own flat position.
        walked: rows and columns that the walk visits.
    """
    visited = torch.zeros_like(place, dtype=torch.bool)
    visited[:, walked, walked] = True
    settled = source.flatten(1)
    changed = visited.flatten().take(settled) & (settled > place.flatten())  # the walk goes from high to low positions
    # An unchanged pixel is its own end; a jump doubles the length of the way that is done.
    onward = torch.where(changed, settled, place.flatten())
    while not torch.equal(further := onward.gather(1, onward), onward):
        onward = further
    return settled.gather(1, onward).reshape(source.shape)


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
    """The kernel as a sum of a few separable ones (its singular vectors), each as a pair of matrices."""
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
    matrix = _zoom_blur_matrix(stop, pixels.shape[-1]).to(pixels.device)
    if matrix.is_sparse:
        columns = pixels.flatten(2).flatten(0, 1).T.contiguous()
        return (matrix @ columns).T.reshape(pixels.shape).contiguous()
    return (pixels.flatten(2) @ matrix.T).reshape(pixels.shape)


def zoom_factors(stop: float) -> _linear.FloatArray:
    """1, 1.01, ... as ``numpy.arange`` gives them, whose rounding decides whether ``stop`` is among them.

    >>> [len(zoom_factors(stop)) for stop in (1.06, 1.11, 1.16, 1.21, 1.26)]
    [7, 12, 16, 21, 26]
    """
    return np.arange(1, stop, 0.01)


@lru_cache(maxsize=8)
def _zoom_blur_matrix(stop: float, size: int) -> Tensor:
    """The whole blur as one matrix (size^2, size^2), to be multiplied from the left; sparse for large images."""
    factors = zoom_factors(stop)
    total = np.eye(size * size)
    for factor in factors:
        axis = _linear.zoom_matrix(float(factor), size)
        new, old = np.nonzero(axis)  # two a row: their products are all of the Kronecker product that is not 0
        rows, columns = np.add.outer(size * new, new), np.add.outer(size * old, old)
        total[rows, columns] += np.multiply.outer(axis[new, old], axis[new, old])
    matrix = _linear.as_tensor(total / (len(factors) + 1))
    # At 64x64 a dense matrix takes 64 MiB and twenty times as long. At 32x32 the order of the sums is part of what is
    # defined: a sparse product would move single pixels by a level.
    return matrix.to_sparse() if size > _DENSE else matrix
