"""MentorNet with a predefined curriculum (Jiang et al. 2018)."""

from __future__ import annotations

from torch import Tensor

import kdbench
from kdbench_sample_selection.small_loss import (
    LEAST_STEPS,
    Exponent,
    KeepRate,
    LeastSteps,
    NoiseRate,
    RampShare,
    small_loss_weights,
)


class MentorNet(kdbench.Method):
    """Self-paced learning: one network, trained on those examples of the batch on which its own losses are small.

    L = mean_{i in S} H(q_i, p_i), with S the R(t) B examples of smallest loss; R(t) as for co-teaching.

    The predefined curriculum of the comparisons with it: weights are 1 below a quantile of the losses, else 0. Jiang
    et al.'s other variant learns the weights by a network that sees clean labels, which no training here may see; their
    moving percentile of the losses is the batch's own, and their random dropping of examples is left out.
    """

    def __init__(
        self,
        *,
        noise_rate: NoiseRate = None,
        ramp_share: RampShare = 0.05,
        least_steps: LeastSteps = LEAST_STEPS,
        exponent: Exponent = 1.0,
    ) -> None:
        self.keep = KeepRate(noise_rate, ramp_share, exponent, least_steps)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        losses = kdbench.losses.cross_entropy(ctx.student(batch.images), batch.labels)
        return (losses * small_loss_weights(losses, self.keep(ctx))).sum()


mentornet = kdbench.method("mentornet", paper="https://arxiv.org/abs/1712.05055")(MentorNet)
