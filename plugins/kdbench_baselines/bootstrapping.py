"""Bootstrapping (Reed et al. 2015): targets between the label and the network's own prediction."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench_baselines.label_loss import RECIPES, LabelLoss, View

PAPER = "https://arxiv.org/abs/1412.6596"

LOG_FLOOR = math.log(kdbench.losses.PROBABILITY_FLOOR)

Beta = Annotated[float, Field(ge=0, le=1, description="weight of the prediction; Reed et al. put theirs on the label")]


class SoftBootstrapping(LabelLoss):
    """Cross-entropy with targets mixed with the network's own prediction.

    L = -sum_c ((1 - beta) q_c + beta p_c) ln max(p_c, 1e-7) = (1 - beta) H(q, p) + beta H(p) but for the clamp, with q
    the one-hot label and p = softmax(logits).

    beta is the prediction's weight, as in the code of GJS; Reed et al. write it on the label, so their .95 is .05
    here. The published collapse at 80 % noise and beta = .9 (Shon et al. 2024, Table 2) only makes sense this way
    round. The gradient goes through the p of the target too, as in that code and ProSelfLC's: it minimises the
    prediction's entropy. Without it (``stop``) the gradient is that of (1 - beta) H(q, p) alone. The clamp inside the
    logarithm is that code's: an example whose label has a smaller probability is no longer pulled towards its label,
    only away from doubt. The default is what Shon et al. (Table 5) have for clean CIFAR-10.
    """

    def __init__(
        self,
        *,
        beta: Beta = 0.5,
        target_gradient: Annotated[
            Literal["keep", "stop"], Field(description="whether the target's p passes gradients on")
        ] = "keep",
        view: View = "suite",
    ) -> None:
        super().__init__(view=view)
        self.beta, self.keep = beta, target_gradient == "keep"

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), 1)
        own = log_p.exp() if self.keep else log_p.exp().detach()
        target = (1 - self.beta) * F.one_hot(labels, logits.shape[1]).to(log_p.dtype) + self.beta * own
        return -(target * log_p.clamp(min=LOG_FLOOR)).sum(1)


class HardBootstrapping(LabelLoss):
    """Cross-entropy with targets mixed with the class that the network predicts.

    L = (1 - beta) H(q, p) - beta ln max_c p_c, with q the one-hot label and p = softmax(logits).

    beta is the prediction's weight, as for the soft form: Reed et al.'s .8 on the label is the default .2 here. The
    comparison of Shon et al. 2024 has the soft form only, so there are no tuned values for this one.
    """

    def __init__(self, *, beta: Beta = 0.2, view: View = "suite") -> None:
        super().__init__(view=view)
        self.beta = beta

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        hard = kdbench.losses.cross_entropy(logits, labels)
        return (1 - self.beta) * hard + self.beta * kdbench.losses.cross_entropy(logits, logits.argmax(1))


boot_soft = kdbench.method("bootstrap-soft", paper=PAPER, recipes=RECIPES)(SoftBootstrapping)
boot_hard = kdbench.method("bootstrap-hard", paper=PAPER, recipes=RECIPES)(HardBootstrapping)
