"""T10: expected calibration error."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from kdbench.metrics import bootstrap_ece_interval, expected_calibration_error
from kdbench.records import Score
from kdbench.tasks import base
from kdbench.tasks.base import EvaluationContext, Task, TestData


class Calibration(Task):
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al. 2017), at temperature 1."""

    name = "calibration"

    class Settings(base.Settings):
        """How confidence is binned."""

        bins: tuple[Annotated[int, Field(ge=1)], ...] = (15,)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        probabilities = ctx.logits(predictor, data.test).double().softmax(1)
        labels = data.test.labels
        ctx.keep("confidence", probabilities.amax(1).float())
        return [
            ctx.score(
                "ece",
                expected_calibration_error(probabilities, labels, bins=bins),
                len(labels),
                bootstrap_ece_interval(probabilities, labels, bins=bins),
                setting={"bins": bins},
                higher_is_better=False,
            )
            for bins in dict.fromkeys(ctx.settings.bins)
        ]
