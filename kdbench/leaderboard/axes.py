"""The columns of a leaderboard: each task's headline score under each condition, and the per-example results behind it.

Which score that is, the task says (``Task.headline``); nothing here knows a task's name. For a task that is not
installed here it is the first score that it left, which nothing is known of but its interval.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from kdbench.leaderboard.board import Axis
from kdbench.results.evidence import Evidence
from kdbench.results.headline import Headline, first_headline, headline_of, installed_task
from kdbench.results.record import Score
from kdbench.results.samples import PerExample, per_example
from kdbench.results.wording import shared
from kdbench.specs import Suite


@dataclasses.dataclass(frozen=True)
class Column:
    """An axis and where its per-example results are."""

    axis: Axis
    headline: Headline

    def score(self, evidence: Evidence) -> Score | None:
        """The record's score on this axis, None if it has none or several."""
        place = self.axis.task, self.axis.condition
        own = [score for score in evidence.record.scores if (score.task, score.condition) == place]
        found = [score for score in own if self.headline.picks(score)]
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
    task = installed_task(name)
    own = [score for score in scores if (score.condition, score.task) == (condition, name)]
    headline = headline_of(suite, name)
    noisy = suite.condition(condition).noise is not None
    if headline is None:
        if not own:
            return None
        headline = dataclasses.replace(first_headline(name, own), noisy=noisy)
    planned = task is not None and task.applies(suite.condition(condition)) and suite.plans(name, condition)
    if not (planned or measured) or (noisy and not headline.noisy):
        return None
    return column_of(suite, condition, name, headline, own)


def column_of(
    suite: Suite, condition: str, task: str, headline: Headline, own: Sequence[Score], key: str = ""
) -> Column:
    """The column of one score of a task; ``own`` are the scores of that task and condition, ``key`` what its key ends
    with where it is not the task's headline."""
    same = [score for score in own if headline.picks(score)]
    axis = Axis(
        key=f"{condition}/{task}{key}",
        title=_title(suite, condition, headline),
        condition=condition,
        task=task,
        metric=headline.metric,
        setting=shared([score.setting for score in same]) or dict(headline.setting),
        unit=headline.unit,
        higher_is_better=headline.higher_is_better,
        **_kind(suite, task),
    )
    return Column(axis, headline)


def _kind(suite: Suite, name: str) -> dict[str, Any]:
    """What the task says of its family and of how its score is to be read."""
    task = installed_task(name)
    if task is None:
        return {"counts": name in suite.tasks}
    beside = installed_task(task.beside) if task.beside else None
    return {
        "family": task.family if beside is None else beside.family,
        "counts": name in suite.tasks and not task.beside,
        "caution": task.caution,
    }


def _title(suite: Suite, condition: str, headline: Headline) -> str:
    """With the condition's name where there is more than one, and of noisy labels always."""
    clean = [name for name, one in suite.conditions.items() if one.noise is None]
    alone = len(clean) == 1 and condition in clean
    return headline.title if alone else f"{headline.title} {condition}"


def results(columns: Iterable[Column], run: Evidence) -> dict[str, PerExample]:
    """Axis to the per-example results of a run; an axis for which its predictions hold nothing usable is not there."""
    scored = {column.axis.key: column.score(run) for column in columns}
    found = {key: None if score is None else per_example(run, score) for key, score in scored.items()}
    return {key: one for key, one in found.items() if one is not None}
