"""Joint optimisation of weights and labels (Tanaka et al. 2018), in its two stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench_baselines.label_loss import RECIPES, LabelLoss, View

PAPER = "https://arxiv.org/abs/1803.11364"

Alpha = Annotated[float, Field(ge=0, description="weight of the prior: predictions shared evenly by the classes")]
Beta = Annotated[float, Field(ge=0, description="weight of the predictions' entropy")]
UpdateShare = Annotated[float, Field(ge=0, le=1, description="share of training before labels are replaced")]
LeastSteps = Annotated[int, Field(ge=0, description="at least so many steps before that, up to half of training")]
LEAST_STEPS = 500
Averaged = Annotated[int, Field(ge=1, le=100, description="epochs whose predictions make a label")]


class Relabelling(LabelLoss):
    """The first stage of joint optimisation: labels become what the network has predicted in the last epochs.

    L = H(s, p) - alpha sum_c (1/C) ln m_c + beta H(p), with s the soft label, m the mean of p over the batch and p =
    softmax(logits). s is the observed label for ``update_share`` of training (70 of 200 epochs; at least
    ``least_steps``), and then, at each epoch's end, the mean of the predictions in training in the last ``averaged``
    epochs.

    Predictions are those for the augmented images, in train mode, as in the authors' code, and kept in half precision:
    ``averaged`` N C numbers. An image left out of an epoch counts with its prediction before (at first its label).
    Defaults are the authors' example for 70 % symmetric noise. They train at a constant learning rate, .08 there and
    .03 for asymmetric noise; here it is the suite's schedule, as theirs was tuned for networks and data of their own.
    """

    def __init__(
        self,
        *,
        alpha: Alpha = 1.2,
        beta: Beta = 0.8,
        update_share: UpdateShare = 0.35,
        least_steps: LeastSteps = LEAST_STEPS,
        averaged: Averaged = 10,
        view: View = "suite",
    ) -> None:
        super().__init__(view=view)
        self.alpha, self.beta, self.averaged = alpha, beta, averaged
        self.update_share, self.least_steps = update_share, least_steps

    def setup(self, ctx: kdbench.Context) -> None:
        self.recent = torch.zeros(self.averaged, ctx.train_size, ctx.num_classes, dtype=torch.half, device=ctx.device)
        self.labels = torch.zeros(ctx.train_size, ctx.num_classes, device=ctx.device)

    def state(self) -> Mapping[str, Tensor]:
        return {"recent": self.recent, "labels": self.labels}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.recent, self.labels = state["recent"], state["labels"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            self.labels = F.one_hot(ctx.train.labels, ctx.num_classes).float()
            self.recent = self.labels.half().expand_as(self.recent).clone()
        elif ctx.epoch >= ctx.share_at_least(self.update_share, self.least_steps) * ctx.epochs:
            self.labels = self.recent.mean(0, dtype=torch.float32)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        logits = ctx.student(batch.images)
        self.recent[ctx.epoch % self.averaged, batch.index] = logits.detach().softmax(1).half()
        return self.objective(logits, self.labels[batch.index])

    def objective(self, logits: Tensor, soft: Tensor) -> Tensor:
        """L from logits and soft labels, both (B, C); scalar."""
        p = logits.softmax(1)
        prior = -p.mean(0).clamp(min=torch.finfo(p.dtype).tiny).log().mean()
        entropy = kdbench.losses.soft_cross_entropy(logits, p).mean()
        return kdbench.losses.soft_cross_entropy(logits, soft).mean() + self.alpha * prior + self.beta * entropy


class JointOptimization(LabelLoss):
    """A network trained on soft labels that another found while it was trained.

    L = H(s, p), with s the prediction of a network trained by ``joint-relabelling`` (see there for alpha, beta,
    update_share, least_steps and averaged) and p = softmax(logits).

    The two stages are two trainings: the first one, of a whole budget, is a need of the second, which is the student's.
    The authors take the soft labels as they stand after the first stage, means of the last ten epochs; here they are
    the first network's own predictions for the un-augmented images, which differ little once it has settled. Their
    second stage is shorter (120 epochs to 200) at a learning rate of .2.
    """

    def __init__(
        self,
        *,
        alpha: Alpha = 1.2,
        beta: Beta = 0.8,
        update_share: UpdateShare = 0.35,
        least_steps: LeastSteps = LEAST_STEPS,
        averaged: Averaged = 10,
        view: View = "suite",
    ) -> None:
        super().__init__(view=view)

    def setup(self, ctx: kdbench.Context) -> None:
        self.labels = torch.zeros(ctx.train_size, ctx.num_classes, device=ctx.device)

    def state(self) -> Mapping[str, Tensor]:
        return {"labels": self.labels}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.labels = state["labels"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            self.labels = ctx.predict(ctx.networks["relabelled"]).softmax(1)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return kdbench.losses.soft_cross_entropy(ctx.student(batch.images), self.labels[batch.index]).mean()


def first_stage(params: Mapping[str, Any]) -> dict[str, kdbench.Network]:
    """The network whose predictions are the labels: all parameters are the first stage's."""
    return {"relabelled": kdbench.Network(like="student", method=joint_relabelling.name, params=params)}


joint_relabelling = kdbench.method("joint-relabelling", paper=PAPER, recipes=RECIPES)(Relabelling)
joint = kdbench.method("joint", needs=first_stage, paper=PAPER, recipes=RECIPES)(JointOptimization)
