"""Mixing examples, as semi-supervised methods do: Beta draws, convex combinations, sharpened targets."""

from __future__ import annotations

import torch
from torch import Tensor


def larger_share(alpha: float, generator: torch.Generator) -> Tensor:
    """max(l, 1 - l) for one l ~ Beta(alpha, alpha): scalar float32 in [.5, 1] on the generator's device."""
    concentration = torch.full((2,), alpha, device=generator.device)
    # torch.distributions samples with this very function but can't be given a generator.
    gammas = torch._standard_gamma(concentration, generator=generator)
    return gammas.max() / gammas.sum()


def partners(size: int, generator: torch.Generator) -> Tensor:
    """A permutation (size,) int64: with whom each example is mixed."""
    return torch.randperm(size, generator=generator, device=generator.device)


def mix(values: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """share x_i + (1 - share) x_partner(i) for ``values`` (B, ...)."""
    return values[partner].lerp(values, share.to(values.dtype))


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum_c p_c^(1/T) for ``probabilities`` (B, C).

    >>> sharpen(torch.tensor([[0.8, 0.2]]), 0.5)[0, 0].item()  # doctest: +ELLIPSIS
    0.9411...
    """
    return (probabilities.log() / temperature).softmax(1)  # powers would underflow
