"""Whether a network's outputs tell images of its training distribution from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from kdbench.data import DataFacts
from kdbench.errors import KdbenchError
from kdbench.metrics import (
    auroc,
    auroc_interval,
    detection_scores,
    false_positive_rate,
    false_positive_rate_interval,
)
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Suite
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard
from kdbench.tasks.settings import TaskSettings

STANDARD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cifar10": (("cifar100",), ("digits",)),
    "cifar100": (("cifar10",), ("digits",)),
    "digits": (("digits-fonts",), ()),
}
"""Data set to its near and its far sets, where a suite names none."""

METRICS = {
    "auroc": (auroc, auroc_interval, True),
    "fpr95": (false_positive_rate, false_positive_rate_interval, False),
}
"""Name to value, interval and whether higher is better."""
INSIDE = "in-distribution"


class OutOfDistributionDetection(Task):
    """Out-of-distribution detection: how well the suite's test images are told from those of other data sets.

    By the largest softmax output, the largest logit and the energy (Hendrycks & Gimpel 2017, Hendrycks et al. 2022, Liu
    et al. 2020), each as AUROC and as ``fpr95``, the share of other images that are taken for the suite's where 95 % of
    the suite's are. It costs a forward pass over the other images and knows nothing of them before. ``near`` sets are
    of images like the suite's, as CIFAR-100 is beside CIFAR-10, ``far`` sets of others; each has scores of its own. No
    standard suite plans it, so that it counts for no mean rank.
    """

    name = "ood_detection"
    other_metrics = frozenset(METRICS)
    lower_is_better = frozenset({"fpr95"})
    setting_keys = frozenset({"dataset", "shift", "score"})

    class Settings(TaskSettings):
        """Data sets whose test images are to be told from the suite's."""

        near: Annotated[tuple[str, ...], Field(max_length=100)] = ()
        """Sets of images like the suite's; with ``far`` empty as well, the standard ones of its data set."""
        far: Annotated[tuple[str, ...], Field(max_length=100)] = ()
        """Sets of other images."""

    def settings_in(self, suite: Suite) -> Any:
        settings = super().settings_in(suite)
        if settings.near or settings.far:
            return settings
        near, far = STANDARD.get(suite.dataset, ((), ()))
        return settings.model_copy(update={"near": near, "far": far})

    def outside(self, settings: Any) -> Iterable[str]:
        return (*settings.near, *settings.far)

    def check_data(self, settings: Any, data: DataFacts) -> None:
        names = list(self.outside(settings))
        if not names:
            raise KdbenchError(
                f"task '{self.name}' knows no data sets to tell from '{data.name}'",
                f'name some in the suite: [tasks.{self.name}] settings = {{ near = ["..."], far = ["..."] }}',
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise KdbenchError(f"task '{self.name}' names data set '{twice}' twice", "leave it out of near or of far")
        if data.name in names:
            raise KdbenchError(
                f"task '{self.name}' is to tell '{data.name}' from itself", "name other data sets as near and far"
            )

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        inside = [detection_scores(logits) for logits in ctx.draws(predictor, data.test)]
        for name, values in inside[0].items():
            ctx.keep(f"{INSIDE}/{name}", values)
        scores = []
        shifts = {**dict.fromkeys(ctx.settings.near, "near"), **dict.fromkeys(ctx.settings.far, "far")}
        for number, (dataset, shift) in enumerate(shifts.items()):
            images = data.outside[dataset]
            outside = [detection_scores(logits) for logits in ctx.draws(predictor, images)]
            pairs = _paired(inside, outside)
            for name, values in outside[0].items():
                ctx.keep(f"{dataset}/{name}", values)
                setting = {"dataset": dataset, "shift": shift, "score": name}
                for metric, (value, interval, higher_is_better) in METRICS.items():
                    scores.append(
                        ctx.drawn(
                            metric,
                            [value(ours[name], theirs[name]) for ours, theirs in pairs],
                            len(data.test) + len(images),
                            interval(inside[0][name], values),
                            setting=setting,
                            higher_is_better=higher_is_better,
                        )
                    )
            ctx.advance((number + 1) / len(shifts))
        return scores

    def headline(self, settings: Any) -> Headline | None:
        first = next(iter(self.outside(settings)), None)
        if first is None:
            return None
        which = {"dataset": first, "score": "max_softmax"}
        return Headline("OOD AUROC", "auroc", which, listed=frozenset({"dataset", "score"}))

    def derives(self, score: Score) -> bool:
        return score.metric in METRICS

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        sets = tuple(self.outside(card.settings))
        for metric, (value, interval, _) in METRICS.items():
            for score in card.select(metric):
                if score.setting.get("dataset") not in sets:
                    yield Objection(score, "setting", f"no data set of the settings, which are {', '.join(sets)}")
                inside = card.array(f"{INSIDE}/{score.setting.get('score')}")
                outside = card.array(f"{score.setting.get('dataset')}/{score.setting.get('score')}")
                if inside is None or outside is None:
                    continue
                try:
                    ours = (value(inside, outside), *interval(inside, outside))
                except KdbenchError as error:
                    yield Objection(score, "value", f"per-example results: {error.message}")
                    continue
                if score.n != len(inside) + len(outside):
                    yield Objection(score, "n", f"{score.n}, but there are {len(inside)} and {len(outside)} images")
                yield from _differing(score, ours)


def _differing(score: Score, ours: tuple[float, float, float]) -> Iterator[Objection]:
    """A score is what the per-example results give; its interval is wider where the predictor was random."""
    given = (score.value, score.ci_low, score.ci_high)
    for field, want, have in zip(("value", "ci_low", "ci_high"), ours, given, strict=True):
        if field != "value" and "draws" in score.setting:
            continue
        if abs(want - have) > 1e-6:
            yield Objection(score, field, f"{have:.6g}, but the per-example results give {want:.6g}")


Scores = dict[str, torch.Tensor]


def _paired(inside: list[Scores], outside: list[Scores]) -> list[tuple[Scores, Scores]]:
    """Draws of both kinds of images; a predictor that is random on one kind alone has the other's one draw in all."""
    draws = max(len(inside), len(outside))
    return [(inside[draw % len(inside)], outside[draw % len(outside)]) for draw in range(draws)]
