"""Knowledge distillation of Hinton et al. 2015, as the baseline of Arani et al. 2021."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

import kdbench


@kdbench.method("kd", needs={"teacher"}, paper="https://arxiv.org/abs/1503.02531")
def kd(
    batch: kdbench.Batch,
    ctx: kdbench.Context,
    *,
    temperature: Annotated[float, Field(gt=0, description="softens both distributions")] = 4.0,
    alpha: Annotated[float, Field(ge=0, le=1, description="weight of the teacher; 0 is cross-entropy")] = 0.9,
    direction: Annotated[
        Literal["forward", "reverse"],
        Field(description="forward: KL(teacher || student), as all public code; reverse: as printed by Arani et al."),
    ] = "forward",
) -> Tensor:
    """Hinton's distillation: (1 - alpha) CE + alpha temperature^2 KL(teacher || student) at that temperature."""
    logits = ctx.student(batch.images)
    divergence = kdbench.losses.kl_divergence(
        ctx.teacher(batch.images),
        logits,
        temperature=temperature,
        direction="teacher||student" if direction == "forward" else "student||teacher",
    )
    hard = kdbench.losses.cross_entropy(logits, batch.labels)
    return ((1 - alpha) * hard + alpha * temperature**2 * divergence).mean()
