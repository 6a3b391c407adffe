"""Co-teaching (Han et al. 2018)."""

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
    exchanged,
)


class CoTeaching(kdbench.TwoNetworks):
    """Two networks, each trained on those examples of the batch on which the other has small losses.

    L = mean_{i in S_B} H(q_i, p_A,i) + mean_{i in S_A} H(q_i, p_B,i), with S_A the R(t) B examples of smallest loss
    under A; R(t) = 1 - rate min((t / ramp)^c, 1), with t the share of training that is done; q is the one-hot label and
    p = softmax(logits).

    The rate is the nominal one of the condition's noise, as in the authors' code, unless it is given; at 0 it is
    cross-entropy on two independent networks. Where noise draws from all classes, or corrupts some of them alone, fewer
    labels are wrong than that: for 40 % inclusive noise on ten classes ``noise_rate=0.36`` is the share of those. The
    authors' code divides a mean by the number of kept examples once more, which their Adam makes up for; here it is
    divided once. Their ramp of 10 in 200 epochs is the default share .05, and goes on within epochs; in a short
    training it has ``least_steps``. Learning rate and augmentation are the suite's; they had Adam, no augmentation and
    a linear decay. Published numbers are the mean accuracy of both networks; a record measures one predictor, the
    student by default (``evaluate``).
    """

    def __init__(
        self,
        *,
        noise_rate: NoiseRate = None,
        ramp_share: RampShare = 0.05,
        least_steps: LeastSteps = LEAST_STEPS,
        exponent: Exponent = 1.0,
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.keep = KeepRate(noise_rate, ramp_share, exponent, least_steps)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = (kdbench.losses.cross_entropy(n(batch.images), batch.labels) for n in (ctx.student, self.peer))
        return exchanged(ours, theirs, self.keep(ctx))


co_teaching = kdbench.method("co-teaching", paper="https://arxiv.org/abs/1804.06872")(CoTeaching)
