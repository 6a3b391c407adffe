"""T5: accuracy on adversarial examples that were made on another network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from kdbench.attacks import transfer
from kdbench.records import Score
from kdbench.tasks import base
from kdbench.tasks.base import EvaluationContext, Task, TestData


class Transfer(Task):
    """Accuracy of the student on PGD examples made on each source network (Katz & Reches 2022, Table 3).

    The attack: zero start, per image the iterate with the lowest probability of the true class. Sources are the
    suite's teacher and its independently trained reference student; ``self`` is the white-box diagonal.
    """

    name = "transfer"

    class Settings(base.Settings):
        """Sources and budget of the attack."""

        sources: tuple[str, ...] = ("teacher", "reference")
        eps: Annotated[float, Field(ge=0, le=1)] = 8 / 255
        step_size: Annotated[float, Field(gt=0, le=1)] = 0.006
        steps: Annotated[int, Field(ge=1)] = 10
        subset: Annotated[int, Field(ge=1)] | None = None

    def sources(self, settings: Any) -> Iterable[str]:
        return tuple(settings.sources)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        index = ctx.subset(data.test, settings.subset)
        images, labels = data.test.images[index].to(ctx.device), data.test.labels[index].to(ctx.device)
        sources = {**{role: ctx.networks[role] for role in settings.sources}, "self": predictor}
        scores = []
        for number, (role, source) in enumerate(sources.items()):
            budget = {"eps": settings.eps, "step_size": settings.step_size, "steps": settings.steps}
            result = transfer(source, predictor, images, labels, **budget)
            clean, adversarial = result.clean_correct.cpu(), result.adversarial_correct.cpu()
            ctx.keep(f"{role}/correct", adversarial)
            scores.append(ctx.share("accuracy", adversarial, setting={"source": role}))
            if clean.any():
                scores.append(ctx.share("conditional_accuracy", adversarial[clean], setting={"source": role}))
            ctx.advance((number + 1) / len(sources))
        return scores
