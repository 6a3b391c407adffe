"""Noise of one value at a time: Gaussian, shot, impulse, speckle.

Every function takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255, the constants of one severity and a
generator, and returns the same shape and scale, not yet clipped. Source: see ``_constants``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.corruptions import _draws


def gaussian_noise(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """x + N(0, c)."""
    (std,) = constants
    return _draws.normal(tuple(pixels.shape), 0.0, 255 * std, generator, pixels.device).add_(pixels)


def shot_noise(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Poisson(x c) / c, with x in [0, 1]: c photons make white."""
    (photons,) = constants
    rate = (pixels * (photons / 255)).to(generator.device)
    return torch.poisson(rate, generator=generator).to(pixels.device).mul_(255 / photons)


def impulse_noise(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Salt and pepper: with probability c a value (each channel by itself) is replaced, half by 0 and half by 255."""
    (amount,) = constants
    draw = _draws.uniform(tuple(pixels.shape), 0.0, 1.0, generator, pixels.device)
    return pixels.masked_fill(draw < amount, 255).masked_fill_(draw < amount / 2, 0)


def speckle_noise(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """x + x N(0, c)."""
    (std,) = constants
    return _draws.normal(tuple(pixels.shape), 1.0, std, generator, pixels.device).mul_(pixels)
