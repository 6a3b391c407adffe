"""T10: expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from kdbench.errors import KdbenchError, plain
from kdbench.metrics import bootstrap_ece_interval, expected_calibration_error
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard
from kdbench.tasks.settings import TaskSettings

MOST_BINS = 1000
"""A bin of more is narrower than the steps that confidences of a test set come in."""
MOST_CLASSES = 1000
"""A largest probability is at least one over the number of classes."""


MOST_CELLS = 10**8
"""Examples times classes that an audit makes room for, 800 MB: twice those of ImageNet's validation set."""

Bins = Annotated[int, Field(ge=1, le=MOST_BINS)]


class Calibration(Task):
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al. 2017), at temperature 1."""

    name = "calibration"
    family = "calibration"
    other_metrics = frozenset({"ece"})
    lower_is_better = frozenset({"ece"})
    setting_keys = frozenset({"bins"})

    class Settings(TaskSettings):
        """How confidence is binned."""

        bins: Annotated[tuple[Bins, ...], Field(min_length=1, max_length=20)] = (15,)
        """Numbers of bins of equal width, a score each; the first is ranked."""

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        draws = ctx.draws(predictor, data.test).double().softmax(2)
        labels = data.test.labels
        ctx.keep("confidence", draws[0].amax(1).float())
        return [
            ctx.drawn(
                "ece",
                [expected_calibration_error(probabilities, labels, bins=bins) for probabilities in draws],
                len(labels),
                bootstrap_ece_interval(draws[0], labels, bins=bins),
                setting={"bins": bins},
                higher_is_better=False,
            )
            for bins in dict.fromkeys(ctx.settings.bins)
        ]

    def headline(self, settings: Any) -> Headline:
        bins = {"bins": settings.bins[0]}
        return Headline("ECE", "ece", bins, noisy=True, confidence="confidence", higher_is_better=False)

    def results_key(self, score: Score) -> str | None:
        return "confidence"

    def derives(self, score: Score) -> bool:
        return score.metric == "ece"

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        wanted = list(dict.fromkeys(card.settings.bins))
        found = [score for score in card.select("ece") if score.setting.get("bins") in wanted]
        if {score.setting["bins"] for score in found} != set(wanted) or len(found) != len(card.select("ece")):
            given = [plain(score.setting.get("bins"), 20) for score in card.select("ece")]
            yield Objection(None, "scores", f"task '{card.task}' found ECE in {given[:10]} bins, expected {wanted}")
        confidence, correct = card.array("confidence"), card.unattacked()
        if confidence is None or correct is None or confidence.shape != correct.shape:
            return
        try:
            probabilities, labels = _two_sided(confidence, correct)
            for score in found:
                bins = int(score.setting["bins"])
                # Confidences are kept in float32, and one of them may lie on an edge.
                value = expected_calibration_error(probabilities, labels, bins=bins)
                low, high = bootstrap_ece_interval(probabilities, labels, bins=bins)
                here, stated = (value, low, high), (score.value, score.ci_low, score.ci_high)
                for field, ours, theirs in zip(("value", "ci_low", "ci_high"), here, stated, strict=True):
                    if field != "value" and "draws" in score.setting:
                        continue  # wider, by draws of which one is kept
                    if abs(ours - theirs) > 2 / len(labels) + 1e-6:
                        yield Objection(score, field, f"{theirs:.6g}, but the per-example results give {ours:.6g}")
        except KdbenchError as error:
            yield Objection(None, "scores", f"task '{card.task}', per-example results: {error.message}")


def _two_sided(confidence: NDArray[Any], correct: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) and labels (N,) that have these confidences and are right where these are.

    What is left to a confidence is spread over so many other classes that none of them exceeds it.
    """
    peaks = torch.from_numpy(confidence.astype(np.float64))
    if not bool(((peaks > 0) & (peaks <= 1)).all()):
        raise KdbenchError("a confidence lies outside (0, 1]", "run again with --fresh")
    others = max(1, math.ceil(1 / float(peaks.min())))
    if others > MOST_CLASSES:
        raise KdbenchError(f"a confidence of {float(peaks.min()):.3g} is below one of {MOST_CLASSES} classes")
    if len(peaks) * others > MOST_CELLS:
        raise KdbenchError(f"{len(peaks):,} examples of {others:,} classes are too many to be recomputed")
    rest = ((1 - peaks) / others)[:, None].expand(-1, others)
    return torch.cat([peaks[:, None], rest], dim=1), torch.from_numpy(~correct).long()
