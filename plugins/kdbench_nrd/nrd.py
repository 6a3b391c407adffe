"""NRD: a student, an EMA teacher that sees other views, and the labels, pulled together by a three-way divergence."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench

Weight = Annotated[float, Field(ge=0, le=1)]
DECAY = 0.99


def _checked(weights: tuple[float, ...], scaled: bool) -> tuple[float, ...]:
    """Weights of labels, student and teacher that can be those of a mixture in which the student learns."""
    total = math.fsum(weights)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise kdbench.KdbenchError(
            f"parameter pi: weights {weights} sum to {total:.6g}, expected 1", "e.g. [0.1,0.8,0.1]"
        )
    if weights[1] == 0:
        raise kdbench.KdbenchError(f"parameter pi: weights {weights} leave the student out", "give it more than 0")
    if scaled and not 0 < weights[0] < 1:
        raise kdbench.KdbenchError(
            f"parameter pi: weights {weights} have no scale, expected a first one in (0, 1)", "use scale=none"
        )
    return weights


class NRD(kdbench.Method):
    """Labels, a strong student view and an EMA teacher's AugMix view under a three-way Jensen-Shannon divergence.

    L = Z [pi1 KL(y || m) + pi2 KL(s || m) + pi3 KL(t || m)], m = pi1 y + pi2 s + pi3 t, with y the one-hot label, s the
    student's prediction for the strong view, and t the teacher's for its own view, without gradient; the gradient goes
    through s and through m. After each step the teacher's weights are decay times themselves plus (1 - decay) times the
    student's. Z = -1 / ((1 - pi1) ln(1 - pi1)), or 1 (``scale``).

    The paper prints no factor Z, but takes the learning rates of GJS, whose code has it on CIFAR and not on WebVision;
    so has this method: scaled, and unscaled on mini-webvision. The strong view is that of GJS with its Cutout of 16
    pixels (the paper says 5). The teacher's batch norm isn't specified: batch statistics as in other mean-teacher code,
    and running ones of its own, which count where it is measured (``evaluated="ema"``); with ``teacher_bn="eval"`` they
    are averaged like the weights. ``variant`` takes parts away: ``ner`` gives the teacher a view without
    vicinity, cropped and flipped alone; ``nvr`` has no moving average, the teacher has the student's present weights.
    On photographs, where shifts by four pixels mean nothing, the recipes have the views of the paper's WebVision
    experiments: the suite's own augmentation for the student (``view="suite"``), weak as with GJS there; AugMix, then a
    crop magnified to the whole and a flip for the teacher (``images="photographs"``). ``cutout`` and
    ``randaugment_magnitude`` belong to the strong view and do nothing elsewhere. The paper gives the strong view to NRD
    and its rivals alike; ``view="suite"`` is NRD in a comparison where all see the suite's augmentation.
    """

    def __init__(
        self,
        *,
        pi2: Annotated[
            float, Field(gt=0, lt=1, description="weight of the student; labels and teacher share the rest equally")
        ] = 0.6,
        pi: Annotated[
            tuple[Weight, Weight, Weight] | None,
            Field(description="weights of labels, student and teacher in place of pi2, with sum 1"),
        ] = None,
        decay: Annotated[float, Field(ge=0, lt=1, description="of the teacher's moving average, per step")] = DECAY,
        variant: Annotated[
            Literal["nrd", "ner", "nvr"],
            Field(description="nrd: all of it; ner: no vicinal view for the teacher; nvr: no moving average"),
        ] = "nrd",
        images: Annotated[
            Literal["small", "photographs"],
            Field(description="the teacher's view: that for CIFAR, or that for WebVision, as its recipe says"),
        ] = "small",
        scale: Annotated[
            Literal["gjs", "none"],
            Field(description="gjs: multiply by -1/((1-pi1) ln(1-pi1)), as its CIFAR learning rates assume"),
        ] = "gjs",
        view: Annotated[
            Literal["strong", "suite"],
            Field(description="of the student: RandAugment, crop, flip and Cutout; or the suite's own augmentation"),
        ] = "strong",
        cutout: Annotated[int, Field(ge=0, le=32, description="side of the student view's Cutout, in pixels")] = 16,
        randaugment_magnitude: Annotated[float, Field(ge=0, le=30, description="of the student view's one draw")] = 3,
        augmix_severity: Annotated[float, Field(ge=0.1, le=10, description="of the teacher view")] = 3.0,
        teacher_bn: Annotated[
            Literal["batch", "eval"], Field(description="statistics of the teacher's batch norm")
        ] = "batch",
        evaluated: Annotated[
            Literal["student", "ema"], Field(description="which network is measured"), kdbench.MeasuredOnly()
        ] = "student",
    ) -> None:
        if variant == "nvr" and decay != DECAY:
            raise kdbench.KdbenchError(f"parameter decay: {decay} has no effect with variant='nvr'", "leave one out")
        self.scaled, self.cutout = scale == "gjs", cutout
        self.weights = ((1 - pi2) / 2, pi2, (1 - pi2) / 2) if pi is None else _checked(tuple(pi), self.scaled)
        self.decay, self.vicinal = 0.0 if variant == "nvr" else decay, variant != "ner"
        self.magnitude, self.severity = randaugment_magnitude, augmix_severity
        self.photographs, self.view = images == "photographs", view
        self.batch_statistics, self.evaluate_ema = teacher_bn == "batch", evaluated == "ema"

    def setup(self, ctx: kdbench.Context) -> None:
        self.ema: nn.Module = copy.deepcopy(ctx.student).requires_grad_(False)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"ema": self.ema}

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.ema.train(self.batch_statistics)

    def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
        return {"images": self._student_view(images, ctx), "teacher": self._teacher_view(images, ctx)}

    def _student_view(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
        if self.view == "suite":
            return ctx.augment(images)
        return kdbench.augment.strong_view(
            images, ctx.generator, m=self.magnitude, cutout_length=self.cutout, fill=ctx.mean, flip=ctx.flip
        )

    def _teacher_view(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
        if self.photographs:
            mixed = kdbench.augment.augmix(images, ctx.generator, severity=self.severity) if self.vicinal else images
            return kdbench.augment.photograph_view(mixed, ctx.generator, flip=ctx.flip)
        if self.vicinal:
            return kdbench.augment.teacher_view(images, ctx.generator, severity=self.severity, flip=ctx.flip)
        return kdbench.augment.crop_flip(images, ctx.generator, padding=4, mode="zeros", flip=ctx.flip)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        labels = nn.functional.one_hot(batch.labels, ctx.num_classes).float()
        student = ctx.student(batch.images).softmax(1)
        with torch.no_grad():
            teacher = self.ema(batch.views["teacher"]).softmax(1)
        distributions = [labels, student, teacher]
        return kdbench.losses.jensen_shannon(distributions, self.weights, scaled=self.scaled).mean()

    def after_step(self, ctx: kdbench.Context) -> None:
        buffers: Literal["keep", "average"] = "keep" if self.batch_statistics else "average"
        kdbench.models.update_average(self.ema, ctx.student, self.decay, buffers=buffers)

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return self.ema if self.evaluate_ema else ctx.student


nrd = kdbench.method(
    "nrd",
    paper="Shon et al. 2024, Neural Vicinal Risk Minimization",
    recipes=Path(__file__).with_name("recipes.toml"),
)(NRD)
