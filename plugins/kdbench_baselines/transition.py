"""Transition matrices of label noise, and methods that begin by estimating one (Patrini et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench_baselines.label_loss import LabelLoss, View

Percentile = Annotated[
    Annotated[float, Field(gt=0, le=100)] | None,
    Field(description="predictions at or above it are passed over as outliers, at 100 nothing is; none: 97, or 100 "
          "where 3 % are all that a class has"),
]  # fmt: skip
PUBLISHED = 97.0
EstimatorShare = Annotated[
    float, Field(gt=0, le=1, description="share of the suite's epochs for the network that the estimate is made with")
]
LeastSteps = Annotated[
    int, Field(ge=0, description="that network gets at least so many steps, up to half of the suite's")
]
LEAST_STEPS = 500
"""A tenth of a short training teaches nothing: on noisy digits forward correction ends at 55.9 % with an estimator of
123 steps, at 82.2 % with one of 492, at 83.6 % with the true matrix. A tenth of the published 200 epochs is 7,820."""


class Transition(nn.Module):
    """T (C, C): T_ij = P(observed label j | right label i). A buffer: it is saved, and no gradient reaches it."""

    matrix: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(classes))


def estimate_transition(probabilities: Tensor, percentile: float) -> Tensor:
    """T (C, C) from a network's probabilities (N, C) on the training images: row i is what it says of an image that it
    is surest is an i.

    Predictions of class i at or above the percentile (the larger neighbour where it falls between two) are passed over,
    unless that leaves none; at 100 nothing is. Rows sum to 1. Source: Patrini et al. 2017.

    >>> estimate_transition(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), 100)
    tensor([[0.9000, 0.1000],
            [0.2000, 0.8000]])
    """
    surest = probabilities
    if percentile < 100:
        place = math.ceil(percentile / 100 * (len(probabilities) - 1))
        threshold = probabilities.sort(0).values[place]
        kept = probabilities < threshold
        surest = torch.where(kept | ~kept.any(0), probabilities, -1)
    rows = probabilities[surest.argmax(0)]
    return rows / rows.sum(1, keepdim=True)


def noisy_log_probability(logits: Tensor, labels: Tensor, transition: Tensor) -> Tensor:
    """ln (T^T p)_y = ln sum_i T_iy p_i for logits (B, C), labels (B,) and T (C, C); result (B,)."""
    log_p = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), 1)
    # Logarithms throughout, so that a T with zeros stands beside probabilities that underflow.
    return torch.logsumexp(log_p + transition.to(log_p.dtype).T[labels].log(), 1)


def estimator(params: Mapping[str, Any]) -> dict[str, kdbench.Network]:
    """The network that T is estimated with, as a need of the method: cross-entropy on its view, stopped early."""
    share, steps, view = params["estimator_share"], params["least_steps"], {"view": params["view"]}
    return {"estimator": kdbench.Network(like="student", params=view, epochs_share=share, least_steps=steps)}


class TransitionLoss(LabelLoss):
    """A label loss with a transition matrix that is estimated before the first epoch and kept.

    Raises ``KdbenchError`` for a percentile that passes over as many images as a class has.
    """

    def __init__(self, *, percentile: Percentile = None, view: View = "suite") -> None:
        super().__init__(view=view)
        self.given = percentile

    def setup(self, ctx: kdbench.Context) -> None:
        lowest = 100 - 100 / ctx.num_classes
        self.percentile = self.given or (PUBLISHED if lowest < PUBLISHED else 100.0)
        if self.percentile <= lowest:
            raise kdbench.KdbenchError(
                f"percentile is {self.percentile}, expected above {lowest:.2f} with {ctx.num_classes} classes",
                "what it passes over would be all that a class has; 100 passes nothing over",
            )
        self.transition = Transition(ctx.num_classes).to(ctx.device)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"transition": self.transition}

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            probabilities = ctx.predict(ctx.networks["estimator"]).softmax(1)
            self.transition.matrix.copy_(estimate_transition(probabilities, self.percentile))
