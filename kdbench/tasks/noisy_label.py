"""T8: accuracy on clean test labels after training on noisy ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Condition
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard, answers_that_fit


class NoisyLabel(Task):
    """Share of all test images whose largest logit is the true class, for a student that was trained on noisy
    labels; the last epoch's student, never the best one."""

    name = "noisy_label"
    family = "noisy labels"
    by_order = True
    unattacked = "correct"
    shares = frozenset({"accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()
    setting_keys = frozenset()
    needs_training = True

    def applies(self, condition: Condition) -> bool:
        return condition.noise is not None

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        return [ctx.share("accuracy", ctx.answers(predictor, data.test))]

    def headline(self, settings: Any) -> Headline:
        return Headline("noisy", "accuracy", noisy=True)

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        yield from answers_that_fit(card)

    def results_key(self, score: Score) -> str | None:
        return "correct"
