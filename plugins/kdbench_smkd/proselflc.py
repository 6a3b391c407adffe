"""Progressive self-label correction: ProSelfLC (Wang et al. 2021)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_smkd.correction import (
    MIDDLE,
    SLOPE,
    Gradient,
    Prediction,
    SelfCorrected,
    SelfCorrection,
    TargetGradient,
    corrected,
    logistic,
)

Slope = Annotated[float, Field(gt=0, description="B: how fast trust grows around the offset")]
Offset = Annotated[float, Field(ge=0, le=1, description="share of training after which half the trust is there")]


class ProgressiveCorrection(SelfCorrection):
    """``epsilon = h(t / T - offset, B) l(p)``: trust grows with training and with certainty."""

    def __init__(self, b: float, offset: float, gradient: Gradient) -> None:
        self.b, self.offset, self.gradient = b, offset, gradient

    def target(self, prediction: Prediction, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        epsilon = logistic(ctx.progress - self.offset, self.b) * prediction.trust
        return corrected(prediction, batch.labels, epsilon, self.gradient)


class ProSelfLC(SelfCorrected):
    """Labels corrected by the network itself, the more the further training is and the surer the prediction.

    L = H((1 - epsilon) q + epsilon p, p), epsilon = g l without gradient, g = h(t / T - offset, B),
    l = 1 - H(p) / ln C, h(x, b) = 1 / (1 + exp(-x b)); t of T steps are done, q is the one-hot label,
    p = softmax(logits).

    Whether the gradient goes through the p of the target is not stated, and it matters: stopped, the second part of the
    loss has none, since that of H(stop(p), p) is p - p = 0, and (1 - epsilon)(p - q) is left, a weighted cross-entropy.
    Kept, it also lowers the entropy of the prediction, which is what the method is for. The authors' first release
    keeps it, the default; a later one stops it, but sharpens p, and takes max p for l. Neither of these is in the
    paper's formula. B and offset are tuned by the authors in 4 to 16 and .2 to .7; the defaults are in the middle.
    Their code adds 1e-6 to p inside the logarithm, which weakens the pull towards labels whose probability is not far
    above that; it is left out, as the formula of the paper has none, and so that epsilon = 0 is cross-entropy.
    """

    def __init__(self, *, b: Slope = SLOPE, offset: Offset = MIDDLE, target_gradient: TargetGradient = "keep") -> None:
        super().__init__(ProgressiveCorrection(b, offset, target_gradient))


proselflc = kdbench.method("proselflc", paper="https://arxiv.org/abs/2005.03788")(ProSelfLC)
