"""DMI: mutual information by a determinant (Xu et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench_baselines.early_stopping import HOLDOUT, HoldOut, early_stopping
from kdbench_baselines.label_loss import RECIPES, LabelLoss, View


def joint_distribution(logits: Tensor, labels: Tensor) -> Tensor:
    """U (C, C), the mean over the batch of q p^T: how often label i meets prediction j; logits (B, C), labels (B,)."""
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    with torch.autocast(p.device.type, enabled=False):  # a determinant needs all digits
        return F.one_hot(labels, p.shape[1]).to(p.dtype).T @ p / len(p)


class DeterminantMutualInformation(LabelLoss):
    """A network trained by cross-entropy, tuned to predictions that tell most about the observed labels.

    L = -ln |det U|, U = mean_i q_i p_i^T, with q the one-hot label and p = softmax(logits). Label noise that does not
    depend on the image multiplies det U by a constant, so the best network is that for clean labels.

    The student starts from a network that ``early-stopping`` trains on the same labels: cross-entropy at the epoch that
    does best on ``holdout`` of them, held out, before wrong labels are learnt by heart. The paper has -ln(|det U| +
    .001) of the sum of q p^T over the batch, where .001 is nothing unless U is singular. With C classes, U is singular
    when fewer than C labels are in the batch, as with 100 classes and batches of 128, and tells little about those that
    come once. So U is a moving average over batches, U <- memory U + (1 - memory) mean_i q_i p_i^T, from identity / C,
    and ``ridge`` of that identity stays in it; the gradient is that through the newest batch, with the weight of a
    whole one. memory = 0 and a ridge near 0 is the paper's loss. Published numbers for CIFAR-100 are without such an
    average and are no test of the idea. The learning rate is the authors' 1e-6, constant, the weight decay their 1e-4,
    in each suite: this is a second stage, which a suite's learning rate would undo. They keep the best epoch of this
    stage too, by one batch of held-out examples; here its last one counts.
    """

    def __init__(
        self,
        *,
        memory: Annotated[float, Field(ge=0, lt=1, description="of the moving average of U, per step")] = 0.9,
        ridge: Annotated[float, Field(gt=0, lt=1, description="share of identity / C in U")] = 1e-3,
        holdout: HoldOut = HOLDOUT,
        view: View = "suite",
    ) -> None:
        super().__init__(view=view)
        self.memory, self.ridge = memory, ridge

    def setup(self, ctx: kdbench.Context) -> None:
        ctx.student.load_state_dict(ctx.networks["start"].state_dict())
        self.average = torch.eye(ctx.num_classes, device=ctx.device) / ctx.num_classes

    def state(self) -> Mapping[str, Tensor]:
        return {"average": self.average}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.average = state["average"]

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return self.of_logits(ctx.student(batch.images), batch.labels)

    def of_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """L of a batch, logits (B, C) and labels (B,); U remembers it."""
        newest = joint_distribution(logits, labels)
        average = self.memory * self.average.to(newest.dtype) + (1 - self.memory) * newest
        self.average = average.detach()
        identity = torch.eye(len(newest), dtype=newest.dtype, device=newest.device) / len(newest)
        value: Tensor = -torch.linalg.slogdet((1 - self.ridge) * average + self.ridge * identity).logabsdet
        # As it stands, the newest batch would count (1 - memory): the gradient is that of a batch that is all of U.
        return value.detach() + (value - value.detach()) / (1 - self.memory)


def start(params: Mapping[str, Any]) -> dict[str, kdbench.Network]:
    """The network that the student starts from, which sees the same view."""
    shared = {name: params[name] for name in ("holdout", "view")}
    return {"start": kdbench.Network(like="student", method=early_stopping.name, params=shared)}


dmi = kdbench.method("dmi", needs=start, paper="https://arxiv.org/abs/1909.03388", recipes=RECIPES)(
    DeterminantMutualInformation
)
