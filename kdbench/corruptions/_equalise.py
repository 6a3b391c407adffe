"""Histogram equalisation of grey images, as OpenCV's ``equalizeHist``."""

from __future__ import annotations

import torch
from torch import Tensor


def equalise(images: Tensor, levels: int) -> Tensor:
    """Spread the levels of each image over 0 ... 255, so that each holds about equally many pixels.

    A level becomes 255 times the share of pixels at most as bright, not counting those of the darkest level, which
    becomes 0. An image of one level stays as it is.

    Takes ``images`` int16 (H, W, N), 0 ... ``levels`` - 1, and returns int16 (H, W, N).
    """
    height, width, count = images.shape
    entries = images.to(torch.int32).add_(levels * torch.arange(count, device=images.device, dtype=torch.int32))
    entries = entries.flatten()
    counts = torch.bincount(entries, minlength=levels * count).reshape(count, levels)
    darkest = counts.gather(1, (counts > 0).to(torch.uint8).argmax(dim=1, keepdim=True))
    brighter = height * width - darkest
    # in float32, as OpenCV: the product decides which way a half is rounded
    scale = torch.full_like(brighter, 255, dtype=torch.float32) / brighter
    spread = (counts.cumsum(dim=1) - darkest).to(torch.float32).mul_(scale).round_()
    itself = torch.arange(levels, device=images.device, dtype=torch.float32).expand_as(spread)
    table = torch.where(brighter == 0, itself, spread).clamp_(0, 255).to(torch.int16)
    return table.flatten().index_select(0, entries).reshape(images.shape)
