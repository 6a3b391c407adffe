"""Forward correction (Patrini et al. 2017)."""

from __future__ import annotations

from torch import Tensor

import kdbench
from kdbench_baselines.label_loss import RECIPES, View
from kdbench_baselines.transition import (
    LEAST_STEPS,
    EstimatorShare,
    LeastSteps,
    Percentile,
    TransitionLoss,
    estimator,
    noisy_log_probability,
)


class ForwardCorrection(TransitionLoss):
    """Cross-entropy of the observed label under the prediction as the label noise would change it.

    L = -ln (T^T p)_y, T_ij = P(observed label j | right label i), p = softmax(logits). T = identity is cross-entropy.

    T is estimated with a network trained by cross-entropy: row i is its prediction for the training image that it is
    surest is an i, after the highest 3 % of those predictions (after none where that is all that a class has, as on
    CIFAR-100). How long that network is trained is not stated where this method is compared; here it is a tenth of the
    budget, as in the public code of T-revision (20 of 200 epochs), before it learns wrong labels by heart. In a suite
    of few steps that is too little for a network to be sure of anything, and T would be nearly even, so it gets
    ``least_steps`` there. The student is trained from scratch. No gradient reaches T.
    """

    def __init__(
        self,
        *,
        estimator_share: EstimatorShare = 0.1,
        least_steps: LeastSteps = LEAST_STEPS,
        percentile: Percentile = None,
        view: View = "suite",
    ) -> None:
        super().__init__(percentile=percentile, view=view)

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -noisy_log_probability(logits, labels, self.transition.matrix)


forward = kdbench.method("forward", needs=estimator, paper="https://arxiv.org/abs/1609.03683", recipes=RECIPES)(
    ForwardCorrection
)
