"""Random numbers from an explicit generator, drawn on its device and handed over on the device of the images."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(shape: tuple[int, ...], mean: float, std: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """float32 draws from N(mean, std)."""
    return torch.empty(shape, device=generator.device).normal_(mean, std, generator=generator).to(device)


def uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """float32 draws from U(low, high)."""
    return torch.empty(shape, device=generator.device).uniform_(low, high, generator=generator).to(device)


def integers(shape: tuple[int, ...], high: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """int64 draws from {0, ..., high - 1}."""
    return torch.randint(high, shape, generator=generator, device=generator.device).to(device)


def below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """int64: for each entry ``n`` of ``limits`` (int64) one draw from {0, ..., n - 1}."""
    # float64 keeps the product under n; in float32 a draw next to 1 could round up to it
    unit = torch.rand(limits.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return (unit.to(limits.device) * limits).long()
