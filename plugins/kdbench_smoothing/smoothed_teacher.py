"""What a student learns of a smoothed random teacher: made in each step, or once for each training image and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_smoothing.smoothed import Aggregation, Smoothed

PAPER = "Katz & Reches 2022, Knowledge Distillation via Smoothed Models"
NEEDS = {"teacher": kdbench.Network(method="cni")}
"""The same whatever a student makes of it: trained once, and the suite's own teacher where that is a CNI network."""

TeacherSmoothing = Annotated[
    Aggregation, Field(description="of the teacher: votes (+ 1/C each), mean probability, or mean logit")
]
TeacherDraws = Annotated[int, Field(ge=1, description="M: forward passes of the teacher for an image's target")]
Temperature = Annotated[float, Field(gt=0, description="softens both distributions")]
View = Annotated[
    Literal["suite", "strong", "plain"],
    Field(
        description="of both networks: the suite's own augmentation; RandAugment, crop, flip, Cutout; or the image as "
        "it is"
    ),
]
Cached = Annotated[
    bool, Field(description="whether targets are made once for each training image and kept; needs view plain")
]


def smoothed_by(teacher: nn.Module, *, draws: int, smoothing: Aggregation) -> Smoothed:
    """The teacher smoothed over ``draws`` single draws, whatever it smooths over by itself.

    A teacher that is not random gives the same in each draw.
    """
    if isinstance(teacher, Smoothed):
        return Smoothed(teacher.network, smoothing=smoothing, draws=draws, input_sigma=teacher.input_sigma)
    return Smoothed(teacher, smoothing=smoothing, draws=draws)


class FromSmoothedTeacher(kdbench.Method):
    """A method whose teacher is smoothed over M draws.

    With ``cached`` the teacher answers once for each training image, before the first step, as Katz & Reches 2022 made
    and stored their M = 512 votes; that is right only while both networks see that very image, so the view must be
    ``plain``. Otherwise the teacher answers M times in each step for what the student sees.

    Raises ``KdbenchError`` for ``cached`` with another view.
    """

    def __init__(self, *, smoothing: Aggregation, draws: int, view: str, cached: bool) -> None:
        if cached and view != "plain":
            raise kdbench.KdbenchError(
                f"parameter cached: true with view={view!r}, under which the teacher never sees the same image again",
                "set view=plain as well, or leave cached out",
            )
        self.smoothing: Aggregation = smoothing
        self.draws, self.view, self.cached = draws, view, cached
        self.kept: Tensor | None = None

    def views(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
        if self.view == "strong":
            return kdbench.augment.strong_view(images, ctx.generator, fill=ctx.mean, flip=ctx.flip)
        return images if self.view == "plain" else ctx.augment(images)

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if self.cached and self.kept is None:
            self.kept = ctx.predict(smoothed_by(ctx.teacher, draws=self.draws, smoothing=self.smoothing))

    def state(self) -> Mapping[str, Tensor]:
        return {} if self.kept is None else {"kept": self.kept}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.kept = state.get("kept")

    def teacher_logits(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        """Logits (B,C) of the smoothed teacher for the images of a batch, detached."""
        if self.kept is not None:
            return self.kept[batch.index]
        with torch.no_grad():
            found: Tensor = smoothed_by(ctx.teacher, draws=self.draws, smoothing=self.smoothing)(batch.images)
        return found
