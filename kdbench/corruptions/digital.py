"""Digital artefacts: JPEG compression, pixelation, elastic deformation.

Every function takes ``pixels`` float32 (N, 3, 32, 32) on the scale 0 ... 255, the constants of one severity and a
generator, and returns the same shape and scale. Source: Hendrycks & Dietterich 2019, make_cifar_c.py.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions import _draws, _jpeg, _linear

_ELASTIC_TRUNCATED_AT = 3.0
_ANCHORS = ((26.0, 26.0), (26.0, 6.0), (6.0, 6.0))
"""Points (x, y) that the random affine map moves: the centre (16, 16) +- a third of the side."""


def jpeg_compression(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """Save as JPEG (4:2:0 chroma) and load again; takes whole numbers. The definition is Pillow's codec."""
    (quality,) = constants
    return _jpeg.round_trip(pixels, int(quality))


def pixelate(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """Pillow's BOX resize to int(32 c) pixels a side and back to 32."""
    (factor,) = constants
    size = pixels.shape[-1]
    small = int(size * factor)
    shrunk = _box_resize(pixels, small)
    return _box_resize(shrunk, size)


def _box_resize(pixels: Tensor, size: int) -> Tensor:
    """Across, then down, each time rounded to 8 bits as Pillow does."""
    matrix = _box_matrix(pixels.shape[-1], size).to(pixels.device)
    across = (pixels @ matrix.T).add_(0.5).floor_()
    return (matrix @ across).add_(0.5).floor_()


@lru_cache(maxsize=16)
def _box_matrix(old: int, new: int) -> Tensor:
    """(new, old): a new pixel is the mean of the old ones whose centres lie in it, or the nearest one if none does."""
    scale = old / new
    support = 0.5 * max(scale, 1.0)
    matrix = np.zeros((new, old))
    for line in range(new):
        centre = (line + 0.5) * scale
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), old)
        position = (np.arange(first, last) - centre + 0.5) / max(scale, 1.0)
        weights = ((position > -0.5) & (position <= 0.5)).astype(np.float64)
        matrix[line, first:last] = weights / weights.sum()
    return _linear.as_tensor(matrix)


def elastic_transform(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """A random affine map, then random smooth displacements, both with bilinear lookup.

    Constants: the displacements' amplitude alpha and smoothness sigma, and how far the affine map's three anchor
    points move along each axis, all in units of the image's side.
    """
    alpha, sigma, affine = (constant * pixels.shape[-1] for constant in constants)
    pixels = _sample(pixels, _affine_positions(pixels, affine, generator), boundary="mirror")
    if alpha == 0:
        return pixels
    count, _, height, width = pixels.shape
    noise = _draws.uniform((count, 2, height, width), -1.0, 1.0, generator, pixels.device)
    moved = _linear.gaussian_blur(noise, sigma, boundary="reflect", truncated_at=_ELASTIC_TRUNCATED_AT) * alpha
    return _sample(pixels, moved + _grid(pixels), boundary="reflect")


def _grid(pixels: Tensor) -> Tensor:
    """(2, H, W): the column x and the row y of every pixel."""
    height, width = pixels.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows]).to(pixels)


def _affine_positions(pixels: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """(N, 2, H, W): where each pixel comes from when the anchors have moved by U(-reach, reach) per coordinate."""
    count = len(pixels)
    anchors = torch.tensor(_ANCHORS, dtype=torch.float64, device=pixels.device)
    moved = anchors + _draws.uniform((count, 3, 2), -reach, reach, generator, pixels.device)
    ones = torch.ones(count, 3, 1, dtype=torch.float64, device=pixels.device)
    # lookup needs the inverse map, which is the affine map that takes the moved anchors back
    back = torch.linalg.solve(torch.cat([moved, ones], dim=2), anchors.expand(count, 3, 2)).float()
    grid = _grid(pixels).flatten(1)
    positions: Tensor = back[:, :2].transpose(1, 2) @ grid + back[:, 2, :, None]
    return positions.reshape(count, 2, *pixels.shape[2:])


def _sample(pixels: Tensor, positions: Tensor, *, boundary: _linear.Boundary) -> Tensor:
    """Bilinear lookup of ``pixels`` (N, C, S, S) at ``positions`` (N, 2, S, S), x and y in pixels."""
    size = pixels.shape[-1]
    # grid_sample's two conventions are the two reflections: about the outer pixels' centres, and about their edges
    centres = boundary == "mirror"
    scaled = positions * (2 / (size - 1)) - 1 if centres else (positions * 2 + 1) / size - 1
    return torch.nn.functional.grid_sample(
        pixels, scaled.permute(0, 2, 3, 1), mode="bilinear", padding_mode="reflection", align_corners=centres
    )
