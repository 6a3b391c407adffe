"""Distillation from a smoothed random teacher into a network that is not random (Katz & Reches 2022)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_smoothing.adversary import EPS, STEP_SIZE, STEPS, Eps, Steps, StepSize, adversarial
from kdbench_smoothing.smoothed_teacher import (
    NEEDS,
    PAPER,
    Cached,
    FromSmoothedTeacher,
    TeacherDraws,
    TeacherSmoothing,
    Temperature,
    View,
)


def smoothed_distillation(
    teacher: Tensor, student: Tensor, labels: Tensor, *, weight: float, temperature: float
) -> Tensor:
    """(1 - w) CE(z, y) + w T^2 H(t, softmax(z / T)), t ∝ p^(1/T) with p = softmax(teacher); logits (B,C), result (B,).

    The cross-entropy H, not a divergence: the entropy of t is part of the value and not of the gradient.
    """
    soft = kdbench.losses.soft_cross_entropy(student / temperature, (teacher / temperature).softmax(1))
    return (1 - weight) * kdbench.losses.cross_entropy(student, labels) + weight * temperature**2 * soft


class KDSmoothed(FromSmoothedTeacher):
    """Distillation from a teacher with random weights, smoothed over draws, into a plain student: clean images.

    L = (1 - w) CE(z, y) + w T^2 H(p_t, p_T), with p_T = softmax(z / T) of the student and p_t ∝ p^(1/T), where p is
    the teacher's prediction smoothed over M draws for the very images that the student sees. The teacher is a network
    of the teacher's architecture trained by method cni.

    How an average of predictions is softened is not said in the paper: here its power 1/T, normalised, which for
    mean-logit smoothing is the usual softmax(z / T). Each class gets 1/C of a vote first, or one without any would
    stay at 0. The paper smooths over M = 512 draws, made once and stored: view=plain cached=true draws=512. By default
    M draws are made in each step, for the augmented images, which no stored target fits. The temperature isn't in the
    paper; 2 is the default of its code. The published student came from other formulas: see katz-as-published.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, le=1, description="of the teacher; 0 is cross-entropy")] = 0.5,
        temperature: Temperature = 2.0,
        smoothing: TeacherSmoothing = "soft",
        draws: TeacherDraws = 32,
        view: View = "suite",
        cached: Cached = False,
    ) -> None:
        super().__init__(smoothing=smoothing, draws=draws, view=view, cached=cached)
        self.weight, self.temperature = weight, temperature

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        teacher = self.teacher_logits(batch, ctx)
        student = ctx.student(batch.images)
        how = {"weight": self.weight, "temperature": self.temperature}
        return smoothed_distillation(teacher, student, batch.labels, **how).mean()


class KDSmoothedAdversarial(FromSmoothedTeacher):
    """Distillation from a smoothed random teacher on clean and adversarial images, towards the same targets.

    L = 1/2 L_KD(x; w) + 1/2 L_KD(x'; w'), with L_KD that of kd-smoothed, w = .75, w' = .25, and x' made on the student
    with the cross-entropy of the label: PGD of 10 steps from the image, each image's worst iterate, in eval mode. The
    teacher sees x alone: both terms have its targets for x. What kd-smoothed says of targets holds here too.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, le=1, description="of the teacher on clean images")] = 0.75,
        adversarial_weight: Annotated[
            float, Field(ge=0, le=1, description="of the teacher on adversarial images")
        ] = 0.25,
        temperature: Temperature = 2.0,
        smoothing: TeacherSmoothing = "soft",
        draws: TeacherDraws = 32,
        eps: Eps = EPS,
        step_size: StepSize = STEP_SIZE,
        steps: Steps = STEPS,
        view: View = "suite",
        cached: Cached = False,
    ) -> None:
        super().__init__(smoothing=smoothing, draws=draws, view=view, cached=cached)
        self.weights, self.temperature = (weight, adversarial_weight), temperature
        self.eps, self.step_size, self.steps = eps, step_size, steps

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        teacher = self.teacher_logits(batch, ctx)
        budget = {"eps": self.eps, "step_size": self.step_size}
        attacked = adversarial(ctx.student, batch.images, batch.labels, steps=self.steps, **budget)
        terms = [
            smoothed_distillation(
                teacher, ctx.student(images), batch.labels, weight=share, temperature=self.temperature
            )
            for images, share in zip((batch.images, attacked), self.weights, strict=True)
        ]
        return (0.5 * terms[0] + 0.5 * terms[1]).mean()


kd_smoothed = kdbench.method("kd-smoothed", needs=NEEDS, paper=PAPER)(KDSmoothed)
kd_smoothed_adversarial = kdbench.method("kd-smoothed-adversarial", needs=NEEDS, paper=PAPER)(KDSmoothedAdversarial)
