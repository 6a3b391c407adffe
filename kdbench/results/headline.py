"""The one score that stands for a task: as a leaderboard's column, in a table on a terminal, in a pull request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Score
from kdbench.results.wording import shared
from kdbench.specs import Suite

if TYPE_CHECKING:
    from kdbench.tasks import Task

RANKED_SEEDS: Final = 3
"""Fewest seeds of a row with a mean rank: two show how much seeds differ with one degree of freedom, one not at all."""

MOST_SHOWN = 6
"""A table shows all scores of a task that has no more than these, and of others those that the headline lists."""

SHORT = 2
"""Parts of a setting that have room in a score's name."""


@dataclasses.dataclass(frozen=True)
class Headline:
    """Which score of a task is a column of a leaderboard, and which per-example results it comes from."""

    title: str
    """Short heading: "clean", "PGD-20 ε .031", ..."""
    metric: str
    """Of the task's scores."""
    setting: Mapping[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    """Picks the one score of that metric."""
    noisy: bool = False
    """Whether students of noisy labels get a column of their own, or are left to other tasks."""
    results: str = ""
    """Pattern of the kept per-example results whose mean the score is ("*/correct"); "": what ``results_key`` says."""
    confidence: str = ""
    """Name of kept largest probabilities, for a score that is their expected calibration error in ``bins``."""

    listed: frozenset[str] = frozenset()
    """Names of the setting whose other values have a row of their own in a table, such as the attack's."""
    unit: str = "fraction"
    """Of the score; the task says it, whatever a record says."""
    higher_is_better: bool = True
    """Which way the score is good; the task says it, whatever a record says."""

    def means(self, score: Score) -> bool:
        """Whether it is this score of the task, by metric and setting."""
        return score.metric == self.metric and self.setting.items() <= score.setting.items()

    def agrees(self, score: Score) -> bool:
        """Whether a score has the unit and the direction that the task says."""
        return (score.unit, score.higher_is_better) == (self.unit, self.higher_is_better)

    def picks(self, score: Score) -> bool:
        """Whether it is this score of the task, in the unit and the direction that the task says."""
        return self.means(score) and self.agrees(score)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON value, which ``of_dict`` reads."""
        return {**dataclasses.asdict(self), "setting": dict(self.setting), "listed": sorted(self.listed)}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Headline:
        """What ``to_dict`` gave."""
        return cls(**{**values, "listed": frozenset(values["listed"])})

    def lists(self, score: Score) -> bool:
        """Whether a table shows this score of the task: the one that is meant, and those like it."""
        fixed = {name: value for name, value in self.setting.items() if name not in self.listed}
        return score.metric == self.metric and fixed.items() <= score.setting.items()


def installed_task(name: str) -> Task | None:
    """The task of that name, None where it is not installed here."""
    return load_plugins().tasks.find(name)


def headline_of(suite: Suite, name: str) -> Headline | None:
    """What a task says is its headline in a suite; None where it is not installed, leaves it open, or does not
    understand the suite's settings."""
    task = installed_task(name)
    if task is None:
        return None
    try:
        return task.headline(task.settings_in(suite))
    except (Exception, SystemExit):  # the task may be a third party's, and the settings those of an untrusted suite
        return None


def outside_of(suite: Suite, name: str) -> tuple[str, ...]:
    """The data sets that a task measures beside a suite's; () where it is not installed here, or does not understand
    the suite's settings."""
    task = installed_task(name)
    if task is None:
        return ()
    try:
        return tuple(task.outside(task.settings_in(suite)))
    except (Exception, SystemExit):  # as above
        return ()


def first_headline(name: str, scores: Iterable[Score]) -> Headline:
    """The headline of a task that states none: its first score."""
    first = next(iter(scores))
    return Headline(name, first.metric, first.setting, unit=first.unit, higher_is_better=first.higher_is_better)


HeadlineOf = Callable[[Suite, str], Headline | None]
"""What ``headline_of`` is, or a way to say the same without the plugins."""


def shown(scores: Iterable[Score], suite: Suite, headlines: HeadlineOf = headline_of) -> list[Score]:
    """The scores for which a table has room, in their order: of a task and condition all, or of many the headline."""
    by_task: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        by_task.setdefault((score.condition, score.task), []).append(score)
    chosen = []
    for (_, name), own in by_task.items():
        headline = headlines(suite, name) or first_headline(name, own)
        chosen += own if len(own) <= MOST_SHOWN else [score for score in own if headline.lists(score)]
    return chosen


def said_once(scores: Sequence[Score], suite: Suite, headlines: HeadlineOf = headline_of) -> dict[str, Any]:
    """What a heading says of all scores of a task under a condition, so that their names need not: what their settings
    have alike beyond what picks the headline, such as the budget of an attack; {} where that is short."""
    headline = headlines(suite, scores[0].task)
    alike = shared([score.setting for score in scores]).items()
    known = {name: value for name, value in alike if headline is None or name not in headline.setting}
    return known if len(known) > SHORT else {}


def unattacked_keys() -> tuple[str, ...]:
    """``<task>/<name>`` of the per-example results on all test images as they are, of every task that keeps them."""
    tasks = load_plugins().tasks
    return tuple(f"{name}/{tasks.get(name).unattacked}" for name in tasks if tasks.get(name).unattacked)
