"""The columns of a leaderboard: each task's headline score under each condition, and the per-example results behind it.

Which score that is, the task says (``Task.headline``); nothing here knows a task's name. For a task that is not
installed here it is the first score that it left, which nothing is known of but its interval.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Axis
from kdbench.plugin.loader import load_plugins
from kdbench.results.comparison import Sample, calibration_errors, from_intervals, shares
from kdbench.results.evidence import Evidence
from kdbench.results.record import Score
from kdbench.specs import Suite
from kdbench.tasks import Headline, Task
from kdbench.tasks.scorecard import UNATTACKED

BINS = 15
"""Of a calibration error whose setting does not say."""
MOST_BINS = 1000
"""A stranger's suite might ask for more than memory has."""

Setting = Mapping[str, str | int | float | bool]


@dataclasses.dataclass(frozen=True)
class Column:
    """An axis and where its per-example results are."""

    axis: Axis
    task: Task | None
    """None: not installed here."""
    headline: Headline

    def score(self, evidence: Evidence) -> Score | None:
        """The record's score on this axis, None if it has none or several."""
        axis = self.axis
        found = [
            score
            for score in evidence.record.select(axis.task, self.headline.metric, **self.headline.setting)
            if score.condition == axis.condition
        ]
        return found[0] if len(found) == 1 else None


def columns(suite: Suite, runs: Sequence[Evidence]) -> tuple[Column, ...]:
    """One a task and condition that the suite plans or a run measured, by condition, in the suite's order of tasks."""
    scores = [score for run in runs for score in run.record.scores]
    measured = {(score.condition, score.task) for score in scores}
    tasks = [*suite.tasks, *sorted({task for _, task in measured} - set(suite.tasks))]
    pairs = [(condition, task) for condition in suite.conditions for task in tasks]
    found = [_column(suite, condition, task, scores, (condition, task) in measured) for condition, task in pairs]
    return tuple(column for column in found if column is not None)


def _column(suite: Suite, condition: str, name: str, scores: Sequence[Score], measured: bool) -> Column | None:
    task = _installed(name)
    own = [score for score in scores if (score.condition, score.task) == (condition, name)]
    headline = _headline(suite, task, name)
    noisy = suite.condition(condition).noise is not None
    if headline is None:
        if not own:
            return None
        first = own[0]
        headline = Headline(name, first.metric, first.setting, noisy=noisy)
    planned = task is not None and task.applies(suite.condition(condition)) and suite.plans(name, condition)
    if not (planned or measured) or (noisy and not headline.noisy):
        return None
    same = [
        score for score in own if score.metric == headline.metric and headline.setting.items() <= score.setting.items()
    ]
    axis = Axis(
        key=f"{condition}/{name}",
        title=_title(suite, condition, headline),
        condition=condition,
        task=name,
        metric=headline.metric,
        setting=_common([score.setting for score in same]) or dict(headline.setting),
        unit=same[0].unit if same else "fraction",
        higher_is_better=same[0].higher_is_better if same else True,
    )
    return Column(axis, task, headline)


def _installed(name: str) -> Task | None:
    try:
        return load_plugins().tasks.get(name)
    except KdbenchError:
        return None


def _headline(suite: Suite, task: Task | None, name: str) -> Headline | None:
    """What an installed task says, None where it leaves it open or its settings are no longer understood."""
    if task is None:
        return None
    try:
        return task.headline(task.resolve(suite.tasks[name].settings if name in suite.tasks else {}))
    except Exception:  # the task may be anybody's, and the settings are those of a stranger's suite
        return None


def _title(suite: Suite, condition: str, headline: Headline) -> str:
    """With the condition's name where there is more than one, and of noisy labels always."""
    clean = [name for name, one in suite.conditions.items() if one.noise is None]
    alone = len(clean) == 1 and condition in clean
    return headline.title if alone else f"{headline.title} {condition}"


def _common(settings: Sequence[Setting]) -> dict[str, str | int | float | bool]:
    """What all have alike."""
    first, *others = settings or [{}]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """Per-example results of one run on one axis."""

    values: NDArray[Any]
    """(n,): whether the answer is right, or the share of right ones, or the confidence."""
    correct: NDArray[np.bool_] | None
    """(n,): beside confidence."""
    examples: str
    """Which test examples."""


def results(columns: Iterable[Column], run: Evidence) -> dict[str, Results]:
    """Axis to what the run's predictions hold for it; an axis of which they hold nothing usable is not there."""
    found = {column.axis.key: _results(column, run.predictions, column.score(run)) for column in columns}
    return {key: one for key, one in found.items() if one is not None}


def sample(column: Column, scores: Sequence[Score], found: Sequence[Results | None]) -> tuple[Sample, bool]:
    """What is to be compared of a method, from its score and per-example results for each seed; and whether these
    results fail to give those scores.

    Results count where they give the score that the record states, for all seeds; otherwise the scores' own intervals.
    """
    whole = [one for one in found if one is not None]
    if len(whole) == len(scores) and len({(one.examples, one.values.shape) for one in whole}) == 1:
        paired = _paired(column, whole, scores)
        # Confidences are kept in float32, and one of them may lie on the edge of a bin.
        slack = 1e-6 + 2 / paired.n * bool(column.headline.confidence)
        if np.allclose(paired.values, [score.value for score in scores], rtol=0, atol=slack):
            return paired, False
    alone = from_intervals(
        [score.value for score in scores],
        [score.ci_low for score in scores],
        [score.ci_high for score in scores],
        n=min(score.n for score in scores),
        fraction=column.axis.unit == "fraction",
    )
    return alone, bool(whole)


def _paired(column: Column, found: Sequence[Results], scores: Sequence[Score]) -> Sample:
    values, examples = np.stack([one.values for one in found]), found[0].examples
    correct = [one.correct for one in found if one.correct is not None]
    if not correct:
        return shares(values, examples=examples)
    interval = (scores[0].ci_low, scores[0].ci_high) if len(scores) == 1 else None
    bins = int(column.headline.setting.get("bins", BINS))
    return calibration_errors(values, np.stack(correct), bins=bins, examples=examples, interval=interval)


def _results(column: Column, predictions: Mapping[str, NDArray[Any]] | None, score: Score | None) -> Results | None:
    if predictions is None or score is None:
        return None
    folder = f"{column.axis.condition}/{column.axis.task}/"
    index = predictions.get(f"{folder}index")
    examples = "all" if index is None else hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()
    if column.headline.confidence:
        return _confidence(column, predictions, score, examples)
    if column.headline.results:
        names = [name for name in predictions if name.startswith(folder)]
        names = [name for name in names if fnmatchcase(name.removeprefix(folder), column.headline.results)]
    else:
        behind = column.task.results_key(score) if column.task is not None else None
        names = [name for name in [f"{folder}{behind}"] if name in predictions]
    arrays = [predictions[name] for name in names]
    if not arrays or not all(array.dtype == np.bool_ and array.shape == (score.n,) for array in arrays):
        return None
    values = arrays[0] if len(arrays) == 1 else np.stack(arrays).mean(0, dtype=np.float64)
    return Results(values, None, examples)


def _confidence(column: Column, predictions: Mapping[str, NDArray[Any]], score: Score, examples: str) -> Results | None:
    peaks = predictions.get(f"{column.axis.key}/{column.headline.confidence}")
    names = [f"{column.axis.condition}/{name}" for name in UNATTACKED]
    correct = next((predictions[name] for name in names if name in predictions), None)
    if peaks is None or correct is None or not peaks.shape == correct.shape == (score.n,):
        return None
    if not 1 <= int(column.headline.setting.get("bins", BINS)) <= MOST_BINS:
        return None
    if peaks.dtype.kind != "f" or correct.dtype != np.bool_ or not bool(((peaks >= 0) & (peaks <= 1)).all()):
        return None
    return Results(peaks, correct, examples)
