"""CDR: only the parameters that matter learn from noisy labels (Xia et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_baselines.cross_entropy import CrossEntropy
from kdbench_baselines.label_loss import RECIPES, View


@torch.no_grad()
def keep_critical(parameters: Iterable[nn.Parameter], share: float) -> None:
    """Keep the gradients of the ``share`` of weights with the largest |weight x gradient|, times ``share``, in place.

    The others become 0. Over all given tensors together; equals at the border are all kept. Nothing is changed for a
    share of 1. Source: Xia et al. 2021, and their public code.
    """
    trained: list[tuple[nn.Parameter, Tensor]] = [(p, p.grad) for p in parameters if p.grad is not None]
    if share >= 1 or not trained:
        return
    scores = [(parameter * gradient).abs() for parameter, gradient in trained]
    everything = torch.cat([score.flatten() for score in scores])
    kept = max(1, int(share * len(everything)))
    threshold = everything.topk(kept, sorted=False).values.min()
    for (_, gradient), score in zip(trained, scores, strict=True):
        gradient.mul_((score >= threshold) * share)


class CriticalParameters(CrossEntropy):
    """Cross-entropy whose gradient reaches only the weights that matter for the fit, by noise rate.

    L = H(q, p), with q the one-hot label and p = softmax(logits). Before each step the matrices and filters of the
    network are ranked by |w dL/dw|, all together; the first 1 - tau of them keep their gradient, times 1 - tau, the
    others get none, and only decay. Biases and batch norms learn as usual. tau = 0 is cross-entropy.

    tau is the nominal rate of the condition's noise, as in the authors' code, unless it is given: where the noise draws
    from all classes, or corrupts some of them alone, fewer labels are wrong. The paper lets the share kept
    fall from 1 to 1 - tau over the first epochs; the authors' code computes that and overwrites it with 1 - tau, which
    is the default here (``ramp_share`` > 0 has the ramp). The published recipe (learning rate .01, weight decay 1e-3,
    batch 64) is the suite's to set.
    """

    def __init__(
        self,
        *,
        noise_rate: Annotated[
            float | None, Field(ge=0, lt=1, description="tau; without it, the nominal rate of the condition's noise")
        ] = None,
        ramp_share: Annotated[
            float, Field(ge=0, le=1, description="share of training in which the share kept falls to 1 - tau")
        ] = 0.0,
        view: View = "suite",
    ) -> None:
        super().__init__(view=view)
        self.noise_rate, self.ramp_share = noise_rate, ramp_share

    def kept(self, ctx: kdbench.Context) -> float:
        """The share of weights that learn now."""
        rate = ctx.noise_rate if self.noise_rate is None else self.noise_rate
        return 1 - rate * (ctx.progress / self.ramp_share if ctx.progress < self.ramp_share else 1)

    def before_step(self, ctx: kdbench.Context) -> None:
        keep_critical((p for p in ctx.student.parameters() if p.ndim in (2, 4)), self.kept(ctx))


cdr = kdbench.method("cdr", paper="https://openreview.net/forum?id=Eql5b1_hTE4", recipes=RECIPES)(CriticalParameters)
