"""Co-teaching+ (Yu et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_sample_selection.small_loss import (
    LEAST_STEPS,
    Exponent,
    KeepRate,
    LeastSteps,
    NoiseRate,
    RampShare,
    exchanged,
)


class CoTeachingPlus(kdbench.TwoNetworks):
    """Co-teaching among the examples on which the two networks' predictions differ.

    L as for co-teaching, with S_A and S_B drawn, after the warm-up, from D = {i : argmax p_A,i != argmax p_B,i} alone:
    the R(t) |D| examples of smallest loss. Where D is empty, L is the cross-entropy of both on the whole batch.

    The warm-up is co-teaching on the whole batch: 20 of 200 epochs for CIFAR-10, the default, and 5 for CIFAR-100, and
    at least ``least_steps``, like the ramp. The rate is the nominal one, as for co-teaching. The
    authors' code takes the cross-entropy of probabilities, as if they were logits, and overlooks the first example of
    each batch; neither is done here. It uses the whole batch where D is empty only while epoch x batch number is below
    5000, a product that is small at each epoch's start as well: here always, or never (``agreed="skip"``).
    """

    def __init__(
        self,
        *,
        noise_rate: NoiseRate = None,
        ramp_share: RampShare = 0.05,
        least_steps: LeastSteps = LEAST_STEPS,
        exponent: Exponent = 1.0,
        warmup_share: Annotated[
            float, Field(ge=0, le=1, description="share of training with co-teaching proper")
        ] = 0.1,
        agreed: Annotated[
            Literal["cross-entropy", "skip"], Field(description="what a batch without any disagreement gives")
        ] = "cross-entropy",
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.keep = KeepRate(noise_rate, ramp_share, exponent, least_steps)
        self.warmup, self.fall_back = warmup_share, agreed == "cross-entropy"

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        logits = ctx.student(batch.images), self.peer(batch.images)
        ours, theirs = (kdbench.losses.cross_entropy(each, batch.labels) for each in logits)
        if ctx.progress < ctx.share_at_least(self.warmup, self.keep.least_steps):
            return exchanged(ours, theirs, self.keep(ctx))
        differ = logits[0].argmax(1) != logits[1].argmax(1)
        selected = exchanged(ours, theirs, self.keep(ctx), differ)
        # A choice on the device: a Python branch would wait for it.
        return torch.where(differ.any(), selected, (ours + theirs).mean()) if self.fall_back else selected


co_teaching_plus = kdbench.method(
    "co-teaching-plus",
    paper="https://arxiv.org/abs/1901.04215",
    recipes=Path(__file__).with_name("recipes.toml"),
)(CoTeachingPlus)
