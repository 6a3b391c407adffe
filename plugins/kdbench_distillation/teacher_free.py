"""Teacher-free distillation by a hand-made teacher: Tf-KD_reg (Yuan et al. 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

import kdbench

RECIPES = Path(__file__).with_name("recipes.toml")


@kdbench.method("tf-kd-reg", paper="https://arxiv.org/abs/1909.11723", recipes=RECIPES)
def tf_kd_reg(
    batch: kdbench.Batch,
    ctx: kdbench.Context,
    *,
    alpha: Annotated[float, Field(ge=0, le=1, description="weight of the hand-made teacher; 0 is cross-entropy")] = 0.1,
    temperature: Annotated[float, Field(gt=0, description="softens the hand-made teacher")] = 20.0,
    correct: Annotated[float, Field(gt=0, le=1, description="its probability of the label before softening")] = 0.99,
    multiplier: Annotated[float, Field(ge=0, description="of the divergence; that of the code over C")] = 1.0,
    form: Annotated[
        Literal["code", "paper"],
        Field(description="code: the student is not softened; paper: it is, and the divergence times temperature^2"),
    ] = "code",
) -> Tensor:
    """Distillation from a teacher made by hand, sure of the label: no network, a form of label smoothing.

    L = (1 - alpha) H(q, p) + alpha multiplier KL(d_T || p), with T the temperature, d = ``correct`` for the label and
    (1 - correct) / (C - 1) for the other classes, d_T = softmax(d / T), p = softmax(logits), q the one-hot label.

    The authors' code differs from their paper: it leaves the student unsoftened and has no factor T^2; the paper's form
    is alpha multiplier T^2 KL(d_T || p_T). What the code softens are the probabilities d themselves, not their
    logarithms, so at T = 20 the target is all but uniform; the paper doesn't say how d is softened, so both forms do it
    like the code. The code averages the divergence over examples and classes and multiplies it by a number set per
    architecture; here it is averaged over examples only, so ``multiplier`` is that number over C. The defaults are its
    values for ResNet-18 on CIFAR-100 (100 over C = 100), which ResNet-34 has too; those for ShuffleNetV2, alpha .95, T
    10 and multiplier .01, are its there.
    """
    logits = ctx.student(batch.images)
    wrong = (1 - correct) / (ctx.num_classes - 1)
    teacher = torch.full_like(logits, wrong).scatter_(1, batch.labels.unsqueeze(1), correct)
    if form == "code":
        soft = kdbench.losses.kl_divergence(teacher / temperature, logits)
    else:
        soft = temperature**2 * kdbench.losses.kl_divergence(teacher, logits, temperature=temperature)
    hard = kdbench.losses.cross_entropy(logits, batch.labels)
    return ((1 - alpha) * hard + alpha * multiplier * soft).mean()
