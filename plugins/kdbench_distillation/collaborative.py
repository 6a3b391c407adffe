"""Online distillation by collaborative learning: KDCL (Guo et al. 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

import kdbench

RECIPES = Path(__file__).with_name("recipes.toml")
HALVINGS = 24
"""Of the interval in which the best weight of two peers lies: to 6e-8, a float32's resolution."""


@torch.no_grad()
def ensemble_logits(first: Tensor, second: Tensor, labels: Tensor, variant: str) -> Tensor:
    """The teacher made of two peers' logits (B, C) and labels (B,): logits (B, C) without gradient."""
    if variant == "mean":
        return (first + second) / 2
    if variant == "naive":
        ours, theirs = (kdbench.losses.cross_entropy(logits, labels) for logits in (first, second))
        return torch.where((ours <= theirs).unsqueeze(1), first, second)
    if variant == "linear":
        weight = best_weight(first, second, labels).unsqueeze(1)
        return weight * first + (1 - weight) * second
    place = labels.unsqueeze(1)
    return torch.minimum(first - first.gather(1, place), second - second.gather(1, place))


@torch.no_grad()
def best_weight(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """For each example the w in [0, 1] with the least cross-entropy of w first + (1 - w) second; result (B,).

    The cross-entropy is convex in w; its slope, sum_c p_c d_c - d_label with d = first - second, is halved in on.
    """
    difference = first - second
    of_label = difference.gather(1, labels.unsqueeze(1)).squeeze(1)
    low, high = torch.zeros_like(of_label), torch.ones_like(of_label)

    def falling(weight: Tensor) -> Tensor:
        mixed = second + weight.unsqueeze(1) * difference
        return (mixed.softmax(1) * difference).sum(1) < of_label

    # At an end where the slope still points outwards, the end itself is best.
    at_low, at_high = ~falling(low), falling(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        further = falling(middle)
        low, high = torch.where(further, middle, low), torch.where(further, high, middle)
    inner = (low + high) / 2
    return torch.where(at_high, torch.ones_like(inner), torch.where(at_low, torch.zeros_like(inner), inner))


class CollaborativeLearning(kdbench.TwoNetworks):
    """Two peers on different views that learn from the labels and from an ensemble of both.

    L = L_A + L_B, L_A = H(q, p) + weight T^2 KL(e_T || p_T) and L_B the same of the other peer, with T the temperature,
    q the one-hot label, p = softmax(logits), p_T = softmax(logits / T) and e_T = softmax(z / T) without gradient, where
    z are the logits of the ensemble.

    z, example by example: ``minlogit``, the smaller logit of the two in each class after the label's logit has been
    subtracted from each peer; ``naive``, the peer with the smaller cross-entropy; ``linear``, the convex combination
    with the least cross-entropy; ``mean``, the mean, as a public re-implementation has it (with T = 4). All but the
    last look at the label, so that wrong labels enter the teacher. The paper's fourth variant, with weights from
    held-out errors, is left out.

    Guo et al. prefer minlogit, the default; Li et al. 2023, who compare it under label noise, say neither variant nor
    parameters. Each peer sees its own draw of the suite's augmentation.
    """

    own_views = False

    def __init__(
        self,
        *,
        variant: Annotated[
            Literal["minlogit", "naive", "linear", "mean"], Field(description="how the ensemble is made")
        ] = "minlogit",
        temperature: Annotated[float, Field(gt=0, description="softens ensemble and peers")] = 2.0,
        weight: Annotated[float, Field(ge=0, description="of the divergence from the ensemble")] = 1.0,
        peer: kdbench.TwoNetworks.PeerModel = "",
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(peer=peer, evaluate=evaluate)
        self.variant, self.temperature, self.weight = variant, temperature, weight

    def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
        return {"images": ctx.augment(images), "peer": ctx.augment(images)}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = ctx.student(batch.images), self.peer(batch.views["peer"])
        teacher = ensemble_logits(ours, theirs, batch.labels, self.variant)
        return (self.one(ours, teacher, batch.labels) + self.one(theirs, teacher, batch.labels)).mean()

    def one(self, own: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """One peer's loss (B,) from its logits and those of the ensemble, both (B, C)."""
        divergence = kdbench.losses.kl_divergence(teacher, own, temperature=self.temperature)
        return kdbench.losses.cross_entropy(own, labels) + self.weight * self.temperature**2 * divergence


kdcl = kdbench.method(
    "kdcl",
    paper="https://openaccess.thecvf.com/content_CVPR_2020/html/"
    "Guo_Online_Knowledge_Distillation_via_Collaborative_Learning_CVPR_2020_paper.html",
    recipes=RECIPES,
)(CollaborativeLearning)
