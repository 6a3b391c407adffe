"""Normalisation as a model's first layer, so that everything outside a model speaks of pixels in [0,1]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError

Normalisation = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel, in [0,1] pixel units."""


class Normalize(nn.Module):
    """``(pixels - mean) / std`` by channel; float (B,C,H,W) in and out.

    Both statistics are persistent buffers: a checkpoint carries its own normalisation.
    Raises ``KdbenchError`` for channels that don't match, values that aren't finite or a ``std`` that isn't positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise KdbenchError(
                f"normalisation has {len(mean)} means and {len(std)} deviations",
                "give one mean and one deviation for each channel",
            )
        if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
            raise KdbenchError(
                f"normalisation found mean={tuple(mean)}, std={tuple(std)}, expected finite numbers and std > 0",
                "give statistics of the training pixels in [0,1]",
            )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std


@torch.fx.wrap  # one step to a tracer, which couldn't follow a branch on a dtype
def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


class PixelModel(nn.Module):
    """A network with its normalisation inside: float32 (B,3,H,W) pixels in [0,1] to float (B,C) logits.

    Logits leave in float32 even where autocast computed them in less, so that losses are taken in full precision.
    """

    def __init__(self, network: nn.Module, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        # Identity rather than nothing: parameter names in a checkpoint don't depend on the normalisation.
        self.normalise: nn.Module = nn.Identity() if normalisation is None else Normalize(*normalisation)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return _at_least_float32(self.network(self.normalise(pixels)))
