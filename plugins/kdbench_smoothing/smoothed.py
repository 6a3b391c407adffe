"""What many draws of a random network say together: votes, mean probabilities or mean logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

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


def smooth(draw: Callable[[], Tensor], draws: int, aggregation: Aggregation) -> Tensor:
    """Logits (B,C) whose softmax is the prediction smoothed over ``draws`` calls of ``draw``, logits (B,C) each.

    votes: p_c = (votes for c + 1/C) / (M + 1), as a class without votes would have the logit minus infinity; soft: the
    mean of softmax(logits); mean-logit: softmax of the mean logits. Katz & Reches 2022, prediction smoothing and soft
    smoothing; the latter averages probabilities in their words and logits in their code.

    Votes have no gradient: theirs is the gradient of the soft logits, so that an attack has something to follow.

    >>> torch.manual_seed(0) and None
    >>> one = torch.tensor([[2.0, 0.0, 1.0]])
    >>> (4 * smooth(lambda: one, 3, "votes").softmax(1)).tolist()  # 3 votes and a third
    [[3.3333332538604736, 0.3333333432674408, 0.3333333432674408]]
    """
    logits = draw()
    classes = logits.shape[1]
    if aggregation == "mean-logit":
        for _ in range(draws - 1):
            logits = logits + draw()
        return logits / draws
    ballots = _ballot(logits)
    log_sum = F.log_softmax(logits, dim=1)
    for _ in range(draws - 1):
        logits = draw()
        ballots = ballots + _ballot(logits)
        log_sum = torch.logaddexp(log_sum, F.log_softmax(logits, dim=1))
    soft = log_sum - math.log(draws)
    if aggregation == "soft":
        return soft
    # The difference is exactly 0: equal counts stay equal, and a tie goes to the lowest class.
    return ((ballots + 1 / classes) / (draws + 1)).log() + (soft - soft.detach())


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
        return smooth(lambda: self.once(pixels), self.draws, self.smoothing)
