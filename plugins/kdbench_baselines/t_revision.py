"""T-revision (Xia et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_baselines.label_loss import RECIPES, View
from kdbench_baselines.transition import (
    LEAST_STEPS,
    EstimatorShare,
    LeastSteps,
    Percentile,
    TransitionLoss,
    estimator,
)

SMALLEST = 1e-12
"""Below which a probability in a denominator counts as this much."""


class Correction(nn.Module):
    """The learned change (C, C) of a transition matrix, 0 at first: ``scale`` times a parameter."""

    def __init__(self, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, classes))
        self.scale = scale

    def forward(self) -> Tensor:
        return self.scale * self.weight


def importance(logits: Tensor, labels: Tensor, transition: Tensor) -> Tensor:
    """p_y / (T^T p)_y, how much likelier the observed label is right than observed; logits (B, C), T (C, C) to (B,)."""
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    # Products and a sum: a matrix product would lose digits under autocast.
    observed = (p * transition.to(p.dtype).T[labels]).sum(1)
    return p.gather(1, labels.unsqueeze(1)).squeeze(1) / observed.clamp(min=SMALLEST)


class TRevision(TransitionLoss):
    """Cross-entropy weighted by how likely the observed label is the right one, by a transition matrix that is revised.

    L = b H(q, p), b = p_y / (T^T p)_y; T_ij = P(observed label j | right label i), q the one-hot label, p =
    softmax(logits). In the last ``revision_share`` of training b has T + D for T, with D learned, 0 at first.

    T is estimated as for forward correction (after 20 of 200 epochs of cross-entropy, on CIFAR-100 15, and at least
    ``least_steps``), and the student starts from that network. b is a weight: the network gets no gradient through it,
    and D gets its own through it alone. In the authors' code D is added once for each example of a batch; here once.
    There the last stage has as many epochs as the one before and an optimiser of its own (Adam at 5e-7, which moves no
    weight by more than .04 in all); here the suite's schedule runs through both, and D learns at ``correction_rate``
    times the learning rate, so that it moves as little (the rate is exact for SGD: D is its root times a parameter).
    Their last stage has the network's gradient through b too, which at that rate does nothing; at a suite's it would be
    another loss, one that is lowered by moving away from labels that the network doubts. Rows of D need not sum to 0.
    """

    def __init__(
        self,
        *,
        estimator_share: EstimatorShare = 0.1,
        least_steps: LeastSteps = LEAST_STEPS,
        percentile: Percentile = None,
        revision_share: Annotated[
            float, Field(ge=0, le=1, description="last share of training, in which the correction is learned")
        ] = 0.5,
        correction_rate: Annotated[
            float, Field(gt=0, description="learning rate of the correction, times the network's")
        ] = 1e-3,
        start: Annotated[
            Literal["estimator", "scratch"], Field(description="what the student's first weights are")
        ] = "estimator",
        view: View = "suite",
    ) -> None:
        super().__init__(percentile=percentile, view=view)
        self.revision_share, self.scale, self.start = revision_share, math.sqrt(correction_rate), start

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        self.correction = Correction(ctx.num_classes, self.scale).to(ctx.device)
        self.revising = False
        if self.start == "estimator":
            ctx.student.load_state_dict(ctx.networks["estimator"].state_dict())

    def networks(self) -> Mapping[str, nn.Module]:
        return {"transition": self.transition, "correction": self.correction}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        self.revising = ctx.progress >= 1 - self.revision_share
        return super().loss(batch, ctx)

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        transition = self.transition.matrix
        if self.revising:
            transition = transition + self.correction()
        return importance(logits.detach(), labels, transition) * kdbench.losses.cross_entropy(logits, labels)


t_revision = kdbench.method("t-revision", needs=estimator, paper="https://arxiv.org/abs/1906.00189", recipes=RECIPES)(
    TRevision
)
