"""What a task says about its own scores afterwards: which of them are impossible together.

Records are untrusted. Whoever wrote a task knows best what its scores can and cannot be.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kdbench.errors import plain
from kdbench.results.record import Check, Score

Bools = TypeVar("Bools", NDArray[np.bool_], Tensor)

SIGNIFICANT = 1.96
"""Standard errors of a paired difference at the 95 % level."""
SLACK = 0.002
"""Share of images whose class may hang on rounding: a network is measured folded by one task and plain by another."""


@dataclasses.dataclass(frozen=True)
class Objection:
    """One thing that cannot be, and where it stands."""

    subject: Score | Check | None
    """What it is about; None: something is missing."""
    field: str
    """The field of the score or check: ``value``, ``n``, ``passed``, ..."""
    message: str


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """What one task measured of one student."""

    task: str
    settings: Any
    """The task's ``Settings``, resolved."""
    scores: tuple[Score, ...]
    checks: tuple[Check, ...]
    results: Mapping[str, NDArray[Any]]
    """Per-example results of all tasks on this student: ``<task>/<name>`` to an array; {} where they are lacking."""
    unattacked_keys: tuple[str, ...]
    """Those of ``results`` that are on all test images as they are; the first one that is there counts."""

    def select(self, metric: str, **setting: Any) -> list[Score]:
        """Scores of a metric whose setting has all of the given values."""
        return [
            score
            for score in self._by_metric.get(metric, ())
            if all(score.setting.get(key) == value for key, value in setting.items())
        ]

    @functools.cached_property
    def _by_metric(self) -> Mapping[str, list[Score]]:
        found: dict[str, list[Score]] = {}
        for score in self.scores:
            found.setdefault(score.metric, []).append(score)
        return found

    def array(self, name: str) -> NDArray[Any] | None:
        """Per-example results of this task, or None."""
        return self.results.get(f"{self.task}/{name}")

    def answers(self, name: str) -> NDArray[np.bool_] | None:
        """The same, where they are truth values (n,); None for what a forger put in their place."""
        found = self.array(name)
        return found if found is not None and found.dtype == np.bool_ and found.ndim == 1 else None

    def unattacked(self) -> NDArray[np.bool_] | None:
        """Bool (n,): which of the images that the task measured are classified correctly as they are; or None."""
        key = next((name for name in self.unattacked_keys if name in self.results), None)
        whole, index = None if key is None else self.results[key], self.array("index")
        if key is None or whole is None or whole.dtype != np.bool_ or whole.ndim != 1:
            return None
        rows = self.results.get(f"{key.partition('/')[0]}/index")
        if rows is not None:  # a part of the test images was measured
            index = _positions(rows, index) if rows.shape == whole.shape else np.empty(0)
        if index is None:
            return whole
        inside = index.ndim == 1 and index.dtype == np.int64 and len(index) and 0 <= index.min() <= index.max()
        return whole[index] if inside and index.max() < len(whole) else None


def _positions(rows: NDArray[Any], index: NDArray[Any] | None) -> NDArray[Any]:
    """Where the images ``index`` lie among those of ``rows``, both int64 and ascending; [] where some do not."""
    wanted = rows if index is None else index
    if wanted.ndim != 1 or not len(wanted) or not np.isin(wanted, rows).all():
        return np.empty(0)
    return np.searchsorted(rows, wanted).astype(np.int64)


def slack(n: int) -> int:
    """How many of n images may differ between two ways to compute the same."""
    return max(1, math.ceil(SLACK * n))


def at_most(low: Score, high: Score, why: str) -> Iterator[Objection]:
    """``low`` cannot lie above ``high``."""
    if low.value > high.value + 1e-9:
        yield Objection(low, "value", f"{low.value:.6g} is above {high.value:.6g}: {why}")


def as_set(score: Score, settings: Mapping[str, Any]) -> Iterator[Objection]:
    """What a score says of its setting is what the task's settings say, as far as it says it."""
    for key, value in settings.items():
        found = score.setting.get(key, value)
        if found != value:
            yield Objection(score, "setting", f"{key} is {plain(found, 20)}, but the settings say {value}")


def falls_with(scores: list[Score], key: str, why: str) -> Iterator[Objection]:
    """The scores cannot rise with a number of their setting."""
    ordered = sorted((score for score in scores if isinstance(score.setting.get(key), int)), key=_by(key))
    for before, after in itertools.pairwise(ordered):
        yield from at_most(after, before, f"{why} ({key} {after.setting[key]} after {before.setting[key]})")


def _by(key: str) -> Any:
    return lambda score: score.setting[key]


def conditional(card: Scorecard, score: Score, correct: NDArray[np.bool_] | None) -> Iterator[Objection]:
    """A share among the images that are right unattacked is what the per-example results give.

    ``correct``: bool (n,) or (cells, n); the share of several cells is their mean.
    """
    clean = card.unattacked()
    if clean is None or correct is None or correct.shape[-1] != len(clean) or "votes" in score.setting:
        return
    number, allowed = int(clean.sum()), slack(len(clean))
    if abs(score.n - number) > allowed:
        yield Objection(score, "n", f"{score.n} images, but {number} are classified correctly unattacked")
    elif number:
        share = float(correct[..., clean].mean())
        if abs(share - score.value) > 2 * allowed / number:
            yield Objection(score, "value", f"{score.value:.6g}, but the per-example results give {share:.6g}")


def not_above_unattacked(card: Scorecard, score: Score, robust: NDArray[np.bool_] | None) -> Iterator[Objection]:
    """An attack does not help: images that it sets right are fewer than those it breaks, beyond chance."""
    clean = card.unattacked()
    if clean is None or robust is None or robust.shape != clean.shape:
        return
    more, chance = excess(robust, clean)
    if more > chance:
        found = f"{score.value:.6g} under attack, {clean.mean():.6g} unattacked on the same images"
        yield Objection(score, "value", f"{found}: an attack does not make a network better")


def answers_that_fit(card: Scorecard, folder: str = "") -> Iterator[Objection]:
    """What images were taken for is right where the results say so, of what ``EvaluationContext.answers`` kept."""
    correct = card.answers(f"{folder}correct")
    answer, label = card.array(f"{folder}answer"), card.array(f"{folder}label")
    if correct is None or answer is None or label is None:
        return
    if not correct.shape == answer.shape == label.shape or not np.array_equal(answer == label, correct):
        yield Objection(
            None, "scores", f"task '{card.task}': the classes answered are not those that it counts as right"
        )


def expected_checks(card: Scorecard, wanted: Mapping[str, int]) -> Iterator[Objection]:
    """A check that the task always makes cannot be missing."""
    for name, count in wanted.items():
        found = sum(check.name == name for check in card.checks)
        if found < count:
            yield Objection(None, "checks", f"task '{card.task}' makes check '{name}' {count} times, found {found}")


def same_check(check: Check, value: float, limit: float) -> Iterator[Objection]:
    """A check says what the per-example results give."""
    if abs(check.value - value) > 1e-6 or abs(check.limit - limit) > 1e-6:
        yield Objection(
            check, "value", f"{check.value:.6g} of at most {check.limit:.6g}, but the per-example results give "
            f"{value:.6g} of at most {limit:.6g}",
        )  # fmt: skip


def excess(better: Bools, worse: Bools) -> tuple[float, float]:
    """How much larger the share of ``better`` is than that of ``worse``, bool (n,) each, on the same images; and how
    much of it is chance: ``SIGNIFICANT`` standard errors of a paired difference without an effect (McNemar 1947).

    >>> excess(np.array([True, True, True, False]), np.array([True, False, False, False]))
    (0.5, 0.6929646455628166)
    """
    gained, lost, n = int((better & ~worse).sum()), int((~better & worse).sum()), len(better)
    return (gained - lost) / n, SIGNIFICANT * math.sqrt(gained + lost) / n
