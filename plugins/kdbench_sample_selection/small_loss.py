"""Small losses are taken for clean labels: how many of a batch are kept, and which."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

import kdbench

NoiseRate = Annotated[
    float | None, Field(ge=0, lt=1, description="rate of wrong labels; without it, the nominal one of the condition")
]
RampShare = Annotated[
    float, Field(ge=0, le=1, description="share of training over which the kept share falls; 0: at once")
]
LeastSteps = Annotated[int, Field(ge=0, description="at least so many steps for that, up to half of training")]
LEAST_STEPS = 500
"""A share of a short training teaches nothing: one epoch of 30 on digits is 41 steps, after which losses say nothing of
labels. The published ramps and warm-ups have 3,900 steps and more."""
Exponent = Annotated[float, Field(gt=0, description="c of that fall: 1 is a line, less is steep first")]


@dataclasses.dataclass(frozen=True)
class KeepRate:
    """R(t) = 1 - rate min((t / ramp)^c, 1), with t the share of training that is done (Han et al. 2018).

    Without a rate of its own it takes the condition's nominal one, as the authors' code does. Fewer labels are wrong
    where noise draws from all classes, or corrupts some of them alone. The ramp has at least ``least_steps``.
    """

    rate: float | None
    ramp: float
    exponent: float
    least_steps: int

    def __call__(self, ctx: kdbench.Context) -> float:
        rate, ramp = ctx.noise_rate if self.rate is None else self.rate, ctx.share_at_least(self.ramp, self.least_steps)
        done = 1.0 if ctx.progress >= ramp else (ctx.progress / ramp) ** self.exponent
        return 1 - rate * done


def small_loss_weights(losses: Tensor, share: float, among: Tensor | None = None) -> Tensor:
    """Weights (B,) of a mean over the ``share`` of smallest ``losses`` (B,): 1 / k for k examples, 0 for the others.

    k is the share rounded down, but at least one. Only examples ``among`` (B,) bool count, if given; where there are
    none, all weights are 0. Nothing waits for the device.

    >>> small_loss_weights(torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.5).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    losses = losses.detach()
    counted = torch.ones_like(losses, dtype=torch.bool) if among is None else among
    rank = losses.masked_fill(~counted, torch.inf).argsort(stable=True).argsort()
    kept: int | Tensor = _kept(share, len(losses))
    if among is not None:
        # By a table of all that may count: some devices have no float64, in which the product is exact enough to cut.
        table = torch.tensor([_kept(share, count) for count in range(len(losses) + 1)])
        kept = table.to(losses.device, non_blocking=True).gather(0, counted.sum()[None])
    chosen = counted & (rank < kept)
    return chosen.to(losses.dtype) / chosen.sum().clamp(min=1)


def _kept(share: float, count: int) -> int:
    """How many of ``count`` are the share; a small surplus, so that .7 of 10 is 7 and not 6 by rounding."""
    return max(1, math.floor(share * count + 1e-6))


def exchanged(ours: Tensor, theirs: Tensor, share: float, among: Tensor | None = None) -> Tensor:
    """Sum of two networks' mean losses, each over the examples on which the other's loss is small; scalar.

    ``ours`` and ``theirs`` (B,) are their losses on one batch; ``share`` and ``among`` as for ``small_loss_weights``.
    """
    for_us, for_them = small_loss_weights(theirs, share, among), small_loss_weights(ours, share, among)
    return (ours * for_us).sum() + (theirs * for_them).sum()
