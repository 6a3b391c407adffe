"""ELR+ (Liu et al. 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench_sample_selection.mixing import larger_share, mix, partners

SMALLEST = 1e-4
"""Where the authors' code clamps probabilities in the regulariser, on both sides."""


def ramp(progress: float, share: float) -> float:
    """exp(-5 (1 - s)^2), with s the progress within ``share`` of training; 1 after it (Laine & Aila 2017).

    >>> ramp(0.5, 0.0), ramp(0.25, 0.25), round(ramp(0.0, 0.25), 6)
    (1.0, 1.0, 0.006738)
    """
    return math.exp(-5 * (1 - progress / share) ** 2) if progress < share else 1.0


class EarlyLearning(kdbench.TwoNetworks):
    """Two networks held to what each other's moving average believed early, with mixed examples.

    t_i <- beta t_i + (1 - beta) p, from t_i = 0, with p the prediction of the other network's average for the unmixed
    image. Images, one-hot labels q and targets t are mixed by max(l, 1 - l), l ~ Beta(alpha, alpha), and for each
    network L = H(q, p) + w lambda ln(1 - sum_c t_c p_c), p clamped to [1e-4, 1 - 1e-4] in the last term.

    w rises as r(s) = exp(-5 (1 - s)^2), s from 0 to 1 within ``ramp_share`` of training: 40 000 steps of 250 epochs on
    CIFAR-100; 0, the default, is no ramp, as on CIFAR-10. The averages' decay rises likewise, as decay r(s), within
    ``decay_ramp_share``: 40 000 steps in the authors' configurations for CIFAR; for WebVision it doesn't rise.
    ``reweight`` has the labels multiplied by t and normalised again, as their code does for CIFAR-100. The averages are
    in train mode, as there, with batch norm statistics of their own. Both
    networks learn from each batch here; there they take turns by epochs. Each keeps a target for each training image.
    Defaults are those for CIFAR-10 with symmetric noise; the mean of the two networks' logits is measured, as in the
    paper.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="lambda, of the regulariser; 0: cross-entropy and mixing")] = (
            3.0
        ),
        beta: Annotated[float, Field(ge=0, lt=1, description="of the targets, per visit")] = 0.7,
        decay: Annotated[float, Field(ge=0, lt=1, description="of the networks' averages, per step")] = 0.997,
        alpha: Annotated[float, Field(gt=0, description="of the Beta distribution of mixing")] = 1.0,
        ramp_share: Annotated[float, Field(ge=0, le=1, description="share of training in which w rises; 0: w = 1")] = 0,
        decay_ramp_share: Annotated[float, Field(ge=0, le=1, description="the same for the averages' decay")] = 0.51,
        reweight: Annotated[bool, Field(description="multiply labels by targets")] = False,
        evaluate: kdbench.TwoNetworks.Evaluated = "ensemble",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.weight, self.beta, self.decay, self.alpha = weight, beta, decay, alpha
        self.ramp_share, self.decay_ramp_share, self.reweight = ramp_share, decay_ramp_share, reweight

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        networks = ctx.student, self.peer
        self.averages: list[nn.Module] = [copy.deepcopy(network).requires_grad_(False) for network in networks]
        self.targets = torch.zeros(2, ctx.train_size, ctx.num_classes, device=ctx.device)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer, "student_average": self.averages[0], "peer_average": self.averages[1]}

    def state(self) -> Mapping[str, Tensor]:
        return {"targets": self.targets}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.targets = state["targets"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        for average in self.averages:
            average.train()

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        labels = F.one_hot(batch.labels, ctx.num_classes).float()
        total = torch.zeros((), device=ctx.device)
        for network, memory, other in zip((ctx.student, self.peer), self.targets, self.averages[::-1], strict=True):
            with torch.no_grad():
                believed = other(batch.images).softmax(1).to(memory.dtype)
            remembered = self.beta * memory[batch.index] + (1 - self.beta) * believed
            memory[batch.index] = remembered
            share, partner = larger_share(self.alpha, ctx.generator), partners(len(labels), ctx.generator)
            images, mixed, targets = (mix(values, partner, share) for values in (batch.images, labels, remembered))
            total = total + self.objective(network(images), mixed, targets, ramp(ctx.progress, self.ramp_share))
        return total

    def objective(self, logits: Tensor, labels: Tensor, targets: Tensor, w: float) -> Tensor:
        """L of one network from logits, mixed labels and mixed targets, all (B, C); scalar."""
        labels, targets = labels.to(logits.dtype), targets.to(logits.dtype)
        if self.reweight:
            labels = labels * targets
            labels = labels / labels.sum(1, keepdim=True).clamp(min=torch.finfo(labels.dtype).tiny)
        clamped = logits.softmax(1).clamp(SMALLEST, 1 - SMALLEST)
        held = torch.log1p(-(targets * clamped).sum(1))
        return (kdbench.losses.soft_cross_entropy(logits, labels) + w * self.weight * held).mean()

    def after_step(self, ctx: kdbench.Context) -> None:
        decay = self.decay * ramp(ctx.progress, self.decay_ramp_share)
        for average, network in zip(self.averages, (ctx.student, self.peer), strict=True):
            kdbench.models.update_average(average, network, decay, buffers="keep")


elr_plus = kdbench.method(
    "elr-plus",
    paper="https://arxiv.org/abs/2007.00151",
    recipes=Path(__file__).with_name("recipes.toml"),
)(EarlyLearning)
