"""T2: accuracy on images of the same classes from another source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from kdbench.data import DataFacts
from kdbench.errors import KdbenchError
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard, answers_that_fit
from kdbench.tasks.settings import CorrectSettings, check_top5


class OutOfDistribution(Task):
    """Share of out-of-distribution images classified correctly, under the name of the set they come from.

    CINIC-10's ImageNet part (Darlow et al. 2018) where it is available; a stand-in is never reported as CINIC. The
    setting ``top5`` adds the share whose true class is among the five largest logits.
    """

    name = "ood"
    family = "natural"
    by_order = True
    Settings = CorrectSettings
    shares = frozenset({"accuracy", "top5_accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()
    setting_keys = frozenset({"dataset"})
    needs_ood = True

    def check_data(self, settings: Any, data: DataFacts) -> None:
        check_top5(self.name, settings, len(data.class_names))

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        if data.ood is None:
            raise KdbenchError("the suite has no out-of-distribution set", "leave out task 'ood'")
        name = data.ood.name
        return ctx.correct_shares(predictor, data.ood, f"{name}/", setting={"dataset": name})

    def headline(self, settings: Any) -> Headline:
        return Headline("OOD", "accuracy")

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        for score in card.select("accuracy"):
            yield from answers_that_fit(card, f"{score.setting.get('dataset')}/")

    def results_key(self, score: Score) -> str | None:
        return f"{score.setting.get('dataset')}/{'correct' if score.metric == 'accuracy' else 'top5'}"
