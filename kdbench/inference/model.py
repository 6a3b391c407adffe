"""What a measured model is: pixels to logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Model = Callable[[Tensor], Tensor]
"""Pixels, float32 (n, 3, H, W) in [0, 1], to logits (n, C); usually an ``nn.Module``."""


def as_float(images: Tensor) -> Tensor:
    """Float32 in [0, 1] from uint8 or float32."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images
