"""T1: accuracy on the plain test images."""

from __future__ import annotations

from torch import nn

from kdbench.records import Score
from kdbench.specs import Condition
from kdbench.tasks.base import EvaluationContext, Task, TestData


class Clean(Task):
    """Share of all test images whose largest logit is the true class: eval mode, no test-time augmentation."""

    name = "clean"
    shares = frozenset({"accuracy"})

    def applies(self, condition: Condition) -> bool:
        return condition.noise is None

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        correct = ctx.is_correct(predictor, data.test)
        ctx.keep("correct", correct)
        return [ctx.share("accuracy", correct)]

    def behind(self, score: Score) -> str | None:
        return "correct"
