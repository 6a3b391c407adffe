"""T2: accuracy on images of the same classes from another source."""

from __future__ import annotations

from typing import Any

from torch import nn

from kdbench.errors import KdbenchError
from kdbench.records import Score
from kdbench.tasks.base import EvaluationContext, Task, TestData
from kdbench.tasks.headline import Headline


class OutOfDistribution(Task):
    """Share of out-of-distribution images classified correctly, under the name of the set they come from.

    CINIC-10's ImageNet part (Darlow et al. 2018) where it is at hand; a stand-in is never reported as CINIC.
    """

    name = "ood"
    shares = frozenset({"accuracy"})
    needs_ood = True

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        if data.ood is None:
            raise KdbenchError("the suite has no out-of-distribution set", "leave out task 'ood'")
        correct = ctx.is_correct(predictor, data.ood)
        ctx.keep(f"{data.ood.name}/correct", correct)
        return [ctx.share("accuracy", correct, setting={"dataset": data.ood.name})]

    def headline(self, settings: Any) -> Headline:
        return Headline("OOD", "accuracy")

    def behind(self, score: Score) -> str | None:
        return f"{score.setting.get('dataset')}/correct"
