"""Deep mutual learning (Zhang et al. 2018), in the weighting of Li et al. 2023 (MKD)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor

import kdbench

RECIPES = Path(__file__).with_name("recipes.toml")


class MutualDistillation(kdbench.TwoNetworks):
    """Two peers that learn from the labels and from each other's predictions.

    L = L_A + L_B, L_A = (1 - epsilon) H(q, p_A) + epsilon KL(stop(p_B) || p_A) and L_B the same with A and B exchanged;
    q is the one-hot label, p = softmax(logits), stop a stopped gradient.

    Zhang et al. have H + KL, which for epsilon = .5, the default, is twice this: the learning rate halves in effect.
    Li et al. do not state their epsilon. Both peers see the same augmented batch and learn in one step, from the same
    two forward passes; in public code of deep mutual learning they take turns or not.
    """

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Field(ge=0, le=1, description="weight of the other's prediction; 0: no peer")] = 0.5,
        peer: kdbench.TwoNetworks.PeerModel = "",
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(peer=peer, evaluate=evaluate)
        self.epsilon = epsilon

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = ctx.student(batch.images), self.peer(batch.images)
        return (self.one(ours, theirs, batch.labels) + self.one(theirs, ours, batch.labels)).mean()

    def one(self, own: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """L_A (B,) from the logits (B, C) of A, ``own``, and of B, through which no gradient goes."""
        return kdbench.losses.distillation(other.detach(), own, labels, temperature=1.0, alpha=self.epsilon)


mkd = kdbench.method("mkd", paper="https://arxiv.org/abs/1706.00384", recipes=RECIPES)(MutualDistillation)
