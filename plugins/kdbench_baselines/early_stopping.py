"""Early stopping by labels that are as noisy as the others."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_baselines.cross_entropy import CrossEntropy
from kdbench_baselines.label_loss import RECIPES, View

HoldOut = Annotated[float, Field(gt=0, lt=1, description="share of the training set that is held out to choose by")]
HOLDOUT = 0.1


class EarlyStopping(CrossEntropy):
    """Cross-entropy, of which the epoch counts that does best on held-out labels, noisy as they are.

    L = H(q, p) on the examples that are not held out, with q the one-hot label and p = softmax(logits). Accuracy on the
    others, un-augmented and with their labels as observed, is taken after each epoch; what is measured, and goes on in
    a second stage, is the network of the epoch in which it was highest, the last of equals.

    The first stage of DMI's authors (Xu et al. 2019, ``CE.py``), who choose so on a tenth of the training images; so do
    T-revision and CDR. Elsewhere here the last epoch counts. The part held out is the same for every seed.
    """

    def __init__(self, *, holdout: HoldOut = HOLDOUT, view: View = "suite") -> None:
        super().__init__(view=view)
        self.holdout = holdout

    def setup(self, ctx: kdbench.Context) -> None:
        self.held = ctx.held_out(self.holdout)
        self.best: nn.Module = copy.deepcopy(ctx.student).requires_grad_(False).eval()
        self.highest = torch.zeros((), dtype=torch.float64)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"best": self.best}

    def state(self) -> Mapping[str, Tensor]:
        return {"highest": self.highest}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.highest = state["highest"].cpu()

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        losses = self.per_example(ctx.student(batch.images), batch.labels)
        # A mask, as to pick rows would wait for the device.
        learnt = (~self.held[batch.index]).to(losses.dtype)
        return (losses * learnt).sum() / learnt.sum().clamp(min=1)

    def epoch_log(self, ctx: kdbench.Context) -> Mapping[str, float]:
        """``held_out_accuracy``; here because it is the one call after an epoch's last step."""
        right = ctx.predict(ctx.student).argmax(1) == ctx.train.labels
        accuracy = right[self.held].cpu().double().mean()
        if accuracy >= self.highest:
            self.highest = accuracy
            self.best.load_state_dict(ctx.student.state_dict())
        return {"held_out_accuracy": accuracy.item()}

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return self.best


early_stopping = kdbench.method("early-stopping", paper="https://arxiv.org/abs/1909.03388", recipes=RECIPES)(
    EarlyStopping
)
