"""Filters and zooms of small images as products with small matrices: ``rows @ image @ columns.T``.

At 32x32 and 64x64 a dense product is faster than a convolution, and it carries any treatment of the border exactly.
The matrices are built in float64 and cached.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Boundary = Literal["nearest", "reflect", "mirror"]
"""What lies beyond the edge, in SciPy's terms: aa|abc (nearest), ba|abc (reflect), cb|abc (mirror, or reflect 101)."""

FloatArray = NDArray[np.float64]


def apply(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ image @ columns.T`` for every image and channel of ``images`` (N, C, H, W)."""
    return rows @ (images @ columns.T)


def gaussian_blur(images: Tensor, sigma: float, *, boundary: Boundary = "nearest", truncated_at: float = 4.0) -> Tensor:
    """Gaussian filter of ``sigma`` pixels per axis, as ``scipy.ndimage.gaussian_filter`` on each channel by itself."""
    matrix = _gaussian_matrix(sigma, images.shape[-1], boundary, truncated_at).to(images.device)
    return apply(images, matrix, matrix)


@lru_cache(maxsize=64)
def _gaussian_matrix(sigma: float, size: int, boundary: Boundary, truncated_at: float) -> Tensor:
    return as_tensor(filter_matrix(gaussian_kernel(sigma, int(truncated_at * sigma + 0.5)), size, boundary))


def gaussian_kernel(sigma: float, radius: int) -> FloatArray:
    """exp(-i^2 / (2 sigma^2)) for i = -radius ... radius, with sum 1."""
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def filter_matrix(kernel: FloatArray, size: int, boundary: Boundary) -> FloatArray:
    """The (size, size) matrix that correlates a signal with the odd-length ``kernel``.

    >>> filter_matrix(np.array([0.25, 0.5, 0.25]), 3, "mirror").tolist()
    [[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]]
    """
    radius = len(kernel) // 2
    positions = np.arange(size)[:, None] + np.arange(-radius, radius + 1)[None, :]
    if boundary == "nearest":
        source = positions.clip(0, size - 1)
    elif boundary == "reflect":
        folded = positions % (2 * size)
        source = np.minimum(folded, 2 * size - 1 - folded)
    else:
        folded = positions % (2 * size - 2)
        source = np.minimum(folded, 2 * size - 2 - folded)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), kernel[None, :])
    return matrix


def zoom_matrix(zoom: float, size: int) -> FloatArray:
    """The (size, size) matrix of the "clipped zoom" of ``make_cifar_c.py`` along one axis.

    Crop the central ceil(size / zoom) pixels, enlarge them by ``zoom`` with linear interpolation between end points
    that stay in place (``scipy.ndimage.zoom`` of order 1), and keep the central ``size`` of the result.
    """
    crop = math.ceil(size / zoom)
    enlarged = round(crop * zoom)
    positions = (size - crop) // 2 + np.arange(enlarged) * ((crop - 1) / (enlarged - 1))
    positions = positions[(enlarged - size) // 2 :][:size]
    left = np.floor(positions).astype(int)
    weight = positions - left
    matrix = np.zeros((size, size))
    line = np.arange(size)
    matrix[line, left] = 1 - weight
    np.add.at(matrix, (line, np.minimum(left + 1, size - 1)), weight)
    return matrix


def as_tensor(matrix: FloatArray) -> Tensor:
    """``matrix`` as a float32 tensor."""
    return torch.from_numpy(matrix).to(torch.float32)
