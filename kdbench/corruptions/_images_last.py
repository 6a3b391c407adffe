"""Images side by side in memory, (H, W, N): a shift by a pixel is then a shift by whole runs of N, which is fast."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Boundary = Literal["nearest", "mirror"]
"""What lies beyond the edge: aa|abc (nearest), cb|abc (mirror, or reflect 101)."""


def images_last(images: Tensor) -> Tensor:
    """(N, ...) as a contiguous (..., N)."""
    return images.flatten(1).T.contiguous().reshape(*images.shape[1:], len(images))


def images_first(images: Tensor) -> Tensor:
    """(..., N) as a contiguous (N, ...)."""
    return images.flatten(0, -2).T.contiguous().reshape(images.shape[-1], *images.shape[:-1])


def bordered(images: Tensor, boundary: Boundary) -> Tensor:
    """(H, W, N) with a border of one pixel: (H + 2, W + 2, N)."""
    inward = 0 if boundary == "nearest" else 1
    outward = images.shape[1] - 1 - inward
    wide = torch.cat([images[:, inward : inward + 1], images, images[:, outward : outward + 1]], dim=1)
    outward = images.shape[0] - 1 - inward
    return torch.cat([wide[inward : inward + 1], wide, wide[outward : outward + 1]])


def neighbour(bordered_images: Tensor, down: int, right: int) -> Tensor:
    """Of (H + 2, W + 2, N) the view (H, W, N) of every pixel's neighbour ``down`` and ``right`` of it, -1 to 1 each."""
    height, width, _ = bordered_images.shape
    return bordered_images[1 + down : height - 1 + down, 1 + right : width - 1 + right]


def box_sum(images: Tensor) -> Tensor:
    """Sums of 3x3 pixels of (H, W, N), mirrored at the edges."""
    wide = bordered(images, "mirror")
    tall = wide[:-2] + wide[1:-1] + wide[2:]
    return tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:]
