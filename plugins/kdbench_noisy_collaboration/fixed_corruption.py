"""Fixed label corruption: messy collaboration with labels corrupted once, before training, not at each visit."""

from __future__ import annotations

import hashlib
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_noisy_collaboration.common import (
    PAPER,
    RECIPES,
    Alpha,
    Direction,
    Temperature,
    Variant,
    distil,
    teacher_on,
)

Rate = Annotated[float, Field(ge=0, le=1, description="share of the labels that are replaced by a wrong one, once")]
Seed = Annotated[int, Field(ge=0, description="of the corrupted labels, whatever the seed of the training")]


def corrupted(labels: Tensor, rate: float, num_classes: int, seed: int) -> Tensor:
    """Labels (N,) int64 of which floor(rate N) are replaced by one of the other classes, the same for each seed.

    The seed is mixed with a purpose of its own: from the bare number a condition's label noise would draw the very same
    examples.
    """
    digest = hashlib.sha256(f"fixed label corruption:{seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return kdbench.noise.symmetric(labels, rate, num_classes, generator=generator, definition="exclusive")


class CorruptedLabels(kdbench.Method):
    """Cross-entropy on labels corrupted once: how the teachers of fixed label corruption are trained.

    L = H(r, p), with r the one-hot label after floor(rate N) of the N labels, chosen at random, were each replaced by
    one of the other classes before training, and p the prediction.

    The corruption comes on top of the condition's label noise, if it has any. Arani et al. 2021 do not define it: how
    it is read here is said at ``fixed-label-corruption``.
    """

    def __init__(self, *, rate: Rate = 0.5, corruption_seed: Seed = 0) -> None:
        self.rate, self.seed = rate, corruption_seed

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        # Computed again where training is resumed: the same labels give the same corruption.
        self.labels = corrupted(ctx.train.labels, self.rate, ctx.num_classes, self.seed)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return kdbench.losses.cross_entropy(ctx.student(batch.images), self.labels[batch.index]).mean()


class FixedLabelCorruption(CorruptedLabels):
    """Distillation with labels corrupted once before training: the student's, its teacher's, or both.

    L = (1 - alpha) H(r, p) + alpha T^2 KL(t_T || p_T), with r the one-hot label after floor(rate N) of the N labels
    were replaced by other classes (variants S and TS), or the label as observed (T); the teacher t is trained with
    cross-entropy on labels so corrupted (T and TS) or as the suite's (S); T, p, p_T and t_T as in ``kd``.

    Arani et al. 2021 show it (Figs. 17, 18) without defining it; this reads it as messy collaboration with one draw in
    place of one at each visit. In TS student and teacher have the same corrupted labels. The defaults are those of
    messy collaboration, whose control it is: on noisy labels S, so that the teacher learns from the student's labels as
    the condition has them.
    """

    def __init__(
        self,
        *,
        variant: Variant = "T",
        rate: Rate = 0.5,
        corruption_seed: Seed = 0,
        temperature: Temperature = 4.0,
        alpha: Alpha = 0.9,
        direction: Direction = "teacher-student",
    ) -> None:
        super().__init__(rate=rate if "S" in variant else 0.0, corruption_seed=corruption_seed)
        self.how = temperature, alpha, direction

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return distil(ctx.teacher(batch.images), ctx.student(batch.images), self.labels[batch.index], *self.how)


corrupted_labels = kdbench.method("corrupted-labels", paper=PAPER)(CorruptedLabels)
fixed_label_corruption = kdbench.method(
    "fixed-label-corruption",
    needs=lambda params: teacher_on("corrupted-labels", params, "rate", "corruption_seed"),
    paper=PAPER,
    recipes=RECIPES,
)(FixedLabelCorruption)
