"""The white-box attack on a random teacher against the attack on its student."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

import kdbench
from kdbench_smoothing.single_draws import RULE, AttackSettings


class TeacherTransfer(kdbench.Task):
    """Accuracy of the suite's teacher on PGD examples made on the student, on itself, and on none.

    Katz & Reches 2022, Table 3, its column of the CNI teacher: a network with random weights resists gradients, and a
    plain student that was distilled from it may show an attacker what it hides. Budget as in task ``transfer``, which
    measures the other direction: zero start, per image the iterate with the lowest probability of the true class.

    Source ``student`` is the transfer attack, ``teacher`` the white-box attack, ``none`` the unattacked images. A
    random teacher is attacked with gradients averaged over draws and judged by votes over fresh ones.
    """

    name = "teacher_transfer"
    shares = frozenset({"accuracy"})
    lower_is_better = frozenset()

    class Settings(AttackSettings):
        """Budget of the attack and the images it is run on."""

        gradient_draws: Annotated[int, Field(ge=8)] = 8
        """Forward passes that a gradient is averaged over, on a teacher that is random at test time."""
        votes: Annotated[int, Field(ge=1)] = 32
        """Fresh forward passes that it is judged by."""

    def sources(self, settings: Any) -> Iterable[str]:
        return ("teacher",)

    def evaluate(
        self, predictor: nn.Module, data: kdbench.TestData, ctx: kdbench.EvaluationContext
    ) -> list[kdbench.Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        teacher = ctx.networks["teacher"]
        budget = settings.budget()
        judged = {"votes": settings.votes} if kdbench.attacks.is_random(teacher, images) else {}
        scores = []
        for number, (role, source) in enumerate({"student": predictor, "teacher": teacher}.items()):
            random = kdbench.attacks.is_random(source, images)
            how = {**judged, **({"gradient_draws": settings.gradient_draws} if random else {})}
            kept = None if random else ctx.kept.get(role)  # of the suite's teacher, which every run attacks alike
            result = kdbench.attacks.transfer(source, teacher, images, labels, kept=kept, **budget, **how)
            if number == 0:
                ctx.keep("none/correct", result.clean_correct.cpu())
                scores.append(ctx.share("accuracy", result.clean_correct.cpu(), setting={"source": "none", **judged}))
            ctx.keep(f"{role}/correct", result.adversarial_correct.cpu())
            setting = {"source": role, **budget, **RULE, **how}
            scores.append(ctx.share("accuracy", result.adversarial_correct.cpu(), setting=setting))
            ctx.advance((number + 1) / 2)
        return scores

    def results_key(self, score: kdbench.Score) -> str | None:
        return f"{score.setting.get('source')}/correct"
