"""T1: accuracy on the plain test images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from kdbench.data import DataFacts
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Condition
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard, answers_that_fit
from kdbench.tasks.settings import CorrectSettings, check_top5


class Clean(Task):
    """Share of all test images whose largest logit is the true class: eval mode, no test-time augmentation.

    The setting ``top5`` adds the share whose true class is among the five largest logits.
    """

    name = "clean"
    family = "natural"
    by_order = True
    Settings = CorrectSettings
    unattacked = "correct"
    shares = frozenset({"accuracy", "top5_accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()
    setting_keys = frozenset()

    def applies(self, condition: Condition) -> bool:
        return condition.noise is None

    def check_data(self, settings: Any, data: DataFacts) -> None:
        check_top5(self.name, settings, len(data.class_names))

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        return ctx.correct_shares(predictor, data.test)

    def headline(self, settings: Any) -> Headline:
        return Headline("clean", "accuracy")

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        yield from answers_that_fit(card)

    def results_key(self, score: Score) -> str | None:
        return "correct" if score.metric == "accuracy" else "top5"
