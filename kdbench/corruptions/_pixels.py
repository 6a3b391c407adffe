"""Pixels as the corruptions see them: float32 on the scale 0 ... 255, so that what doesn't change stays exact."""

from __future__ import annotations

import torch
from torch import Tensor

_SLACK = 1 / 1024
"""Grey levels added before a truncation. A result that is a whole number in exact arithmetic may come out a few
float32 roundings (about 3e-5) below it, and truncation would turn that into a whole level; the slack prevents it."""

_GREY_WEIGHTS = (0.299, 0.587, 0.114)


def truncate(pixels: Tensor) -> Tensor:
    """``pixels`` clipped to [0, 255] and truncated to whole levels, still float32: a stop at 8 bits on the way."""
    return (pixels + _SLACK).clamp_(0, 255).floor_()


def to_bytes(pixels: Tensor) -> Tensor:
    """``pixels`` (float32, 0 ... 255) clipped and truncated to uint8.

    >>> to_bytes(torch.tensor([-3.0, 36.99999, 37.9, 300.0])).tolist()
    [0, 37, 37, 255]
    """
    return (pixels + _SLACK).clamp_(0, 255).to(torch.uint8)


def grey(pixels: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of RGB ``pixels`` (N, 3, H, W), with the ITU-R BT.601 weights that OpenCV uses."""
    red, green, blue = _GREY_WEIGHTS
    return red * pixels[:, 0:1] + green * pixels[:, 1:2] + blue * pixels[:, 2:3]
