"""Draws from an explicit generator, delivered on the images' device whichever device the generator lives on."""

from __future__ import annotations

import torch
from torch import Tensor


def integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """int64, uniform on low..high-1."""
    return torch.randint(low, high, shape, generator=generator, device=generator.device).to(device)


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """float32, uniform on [0,1)."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def coins(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """bool, each true with probability 1/2."""
    return integers(0, 2, shape, generator, device) == 1


def signs(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """float32, -1 or 1, each with probability 1/2."""
    return 2.0 * integers(0, 2, shape, generator, device).float() - 1.0


def dirichlet(shape: tuple[int, ...], alpha: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """float32, symmetric Dirichlet(alpha) along the last dimension: normalised Gamma(alpha) draws."""
    concentration = torch.full(shape, alpha, device=generator.device)
    # torch.distributions samples with this very function but can't be given a generator.
    gammas = torch._standard_gamma(concentration, generator=generator)
    return (gammas / gammas.sum(dim=-1, keepdim=True)).to(device)
