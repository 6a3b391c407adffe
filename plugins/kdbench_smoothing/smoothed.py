"""What many draws of a random network say together: votes, mean probabilities or mean logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import kdbench
from kdbench_smoothing.noisy_network import check_batch

Aggregation = Literal["votes", "soft", "mean-logit"]
Smoothing = Annotated[
    Literal["votes", "soft", "mean-logit", "none"],
    Field(description="of the predictions: votes, mean probability, mean logit, or one draw alone"),
    kdbench.MeasuredOnly(),
]
Draws = Annotated[
    int,
    Field(ge=1, description="M: forward passes of a smoothed prediction; Katz & Reches take 512"),
    kdbench.MeasuredOnly(),
]


CHUNK = 8
"""Draws whose autograd graphs are held at once: with more, these are forgotten and made again on the way back."""

Draw = Callable[[Tensor], Tensor]
Totals = tuple[Tensor, ...]


def smooth(draw: Draw, pixels: Tensor, draws: int, aggregation: Aggregation) -> Tensor:
    """Logits (B,C) whose softmax is the prediction smoothed over ``draws`` calls of ``draw``, pixels to logits (B,C).

    votes: p_c = (votes for c + 1/C) / (M + 1), as a class without votes would have the logit minus infinity; soft: the
    mean of softmax(logits); mean-logit: softmax of the mean logits. Katz & Reches 2022, prediction smoothing and soft
    smoothing; the latter averages probabilities in their words and logits in their code.

    Votes have no gradient: theirs is the gradient of the soft logits, so that an attack has something to follow.

    Memory does not grow with ``draws``: where a gradient is wanted, at most two chunks of ``CHUNK`` draws have a graph
    at a time, and the draws after the first chunk are made twice, with the same random numbers of torch's global
    generators. ``draw`` must take its random numbers from there.

    >>> torch.manual_seed(0) and None
    >>> one = torch.tensor([[2.0, 0.0, 1.0]])
    >>> (4 * smooth(lambda _: one, one, 3, "votes").softmax(1)).tolist()  # 3 votes and a third
    [[3.3333332538604736, 0.3333333432674408, 0.3333333432674408]]
    """
    begin, add = (_first_logits, _add_logits) if aggregation == "mean-logit" else (_first_vote, _add_vote)

    def some(count: int, pixels: Tensor, *totals: Tensor) -> Totals:
        for _ in range(count):
            totals = add(totals, draw(pixels))
        return totals

    totals = begin(draw(pixels))
    totals = some(min(draws, CHUNK) - 1, pixels, *totals)
    for done in range(CHUNK, draws, CHUNK):
        count = min(CHUNK, draws - done)
        if totals[0].requires_grad:
            totals = checkpoint(some, count, pixels, *totals, use_reentrant=False)
        else:
            totals = some(count, pixels, *totals)
    if aggregation == "mean-logit":
        return totals[0] / draws
    soft, ballots = totals[0] - math.log(draws), totals[1]
    if aggregation == "soft":
        return soft
    # The difference is exactly 0: equal counts stay equal, and a tie goes to the lowest class.
    return ((ballots + 1 / ballots.shape[1]) / (draws + 1)).log() + (soft - soft.detach())


def _first_logits(logits: Tensor) -> Totals:
    return (logits,)


def _add_logits(totals: Totals, logits: Tensor) -> Totals:
    return (totals[0] + logits,)


def _first_vote(logits: Tensor) -> Totals:
    return F.log_softmax(logits, dim=1), _ballot(logits)


def _add_vote(totals: Totals, logits: Tensor) -> Totals:
    log_sum, ballots = totals
    return torch.logaddexp(log_sum, F.log_softmax(logits, dim=1)), ballots + _ballot(logits)


def _ballot(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


class Smoothed(nn.Module):
    """A random network and how its draws become one prediction: float (B,3,H,W) in [0,1] to logits (B,C).

    Gaussian noise of ``input_sigma``, in pixels of [0,1] and not clipped, is added to the images of each draw. Random
    numbers come from torch's global generator.
    """

    def __init__(self, network: nn.Module, *, smoothing: Smoothing, draws: int, input_sigma: float = 0.0) -> None:
        super().__init__()
        self.network, self.smoothing = network, smoothing
        self.draws, self.input_sigma = draws, input_sigma

    def once(self, pixels: Tensor) -> Tensor:
        """Logits (B,C) of a single draw."""
        if self.input_sigma > 0:
            noise = torch.randn(pixels.shape, device=pixels.device, dtype=pixels.dtype)
            pixels = pixels + self.input_sigma * noise
        logits: Tensor = self.network(pixels)
        return logits

    def forward(self, pixels: Tensor) -> Tensor:
        check_batch(pixels)
        if self.smoothing == "none":
            return self.once(pixels)
        return smooth(self.once, pixels, self.draws, self.smoothing)
