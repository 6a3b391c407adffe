"""Whether two measurements of one checkpoint agree, score by score."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kdbench.results.attestation import REFUTED, AgreementVerdict
from kdbench.results.comparison import sign_test
from kdbench.results.record import Score

LEVEL: Final = 0.05
"""Chance that any score of an honest record is called "not", over all that are compared."""
ROUNDING: Final = 1e-6
"""A number that moved less is the same: other machines add in another order."""
CONFIDENCE_DRIFT: Final = 0.01
"""Mean change of a float per-example result that another machine may make."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What was found of one score."""

    score: Score
    """As it is recorded."""
    recorded: float
    """Its value on the examples that are compared."""
    measured: float
    """NaN where it was not measured again."""
    n: int
    """Examples that are compared."""
    verdict: AgreementVerdict
    basis: str
    """What the verdict rests on."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        measured = None if math.isnan(self.measured) else self.measured
        return {**values, "measured": measured, "score": self.score.model_dump(mode="json")}


@dataclasses.dataclass(frozen=True)
class Examples:
    """Per-example results behind a score, of both measurements, on the same examples."""

    recorded: NDArray[Any]
    measured: NDArray[Any]


class Judged:
    """What has a verdict on every score of a record."""

    agreements: list[Agreement]

    @property
    def refuted(self) -> list[Agreement]:
        """The scores that say that the record is wrong."""
        return [one for one in self.agreements if one.verdict in REFUTED]

    @property
    def counts(self) -> dict[AgreementVerdict, int]:
        """Verdict to the number of scores, of all verdicts that there are."""
        found = collections.Counter(one.verdict for one in self.agreements)
        return {verdict: found[verdict] for verdict in get_args(AgreementVerdict)}


def compare(
    recorded: Sequence[Score],
    measured: Sequence[Score],
    examples: Callable[[Score], Examples | None],
    *,
    whole: bool,
    exact: bool = False,
    retrained: bool = False,
    tasks: int = 1,
) -> list[Agreement]:
    """Every recorded score against the one that was measured again.

    One that the measurement did not give is "not reproduced", of a sample "unchecked": a few images may have none to
    count.

    Where per-example results are kept, they decide: the number of examples that changed for the better against those
    that changed for the worse, by the exact sign test, at a level that holds over all scores (Bonferroni). Otherwise a
    score of all examples must lie in the recorded interval, and one of a sample must not differ from the recorded one
    by more than the intervals of both allow. So it is of another training of the same specification too: its network is
    another one, and answers other examples rightly.

    Args:
        recorded: of one student and task.
        measured: the same.
        examples: gives the per-example results behind a score, or None.
        whole: whether all examples were measured, not a sample.
        exact: whether this is the machine, with the threads and versions, that measured the record: then what is not
            the same is not within its interval either.
        retrained: whether the network was trained again, too.
        tasks: over which the level holds, in equal parts: the other ones are compared elsewhere.
    """
    pairs = list(_pairs(recorded, measured))
    level = LEVEL / tasks / max(1, sum(new is not None for _, new in pairs))
    results = []
    for old, new in pairs:
        if new is None:
            results.append(_lacking(old, whole=whole))
            continue
        both = examples(old)
        if both is not None:
            found = _by_example(old, new, both, whole=whole, level=level)
        elif whole:
            found = _by_interval(old, new)
        else:
            found = _by_both_intervals(old, new, level=level)
        if retrained and not exact and found.verdict != "same":
            found = _by_both_intervals(old, new, level=level)
        results.append(_exactly(found) if exact else found)
    return results


def unchecked(score: Score, why: str) -> Agreement:
    """A recorded score that was not measured again."""
    return Agreement(score, score.value, math.nan, 0, "unchecked", why)


def _lacking(score: Score, *, whole: bool) -> Agreement:
    if whole:
        return Agreement(score, score.value, math.nan, 0, "not reproduced", "the task gives no such score")
    return unchecked(score, "the sample gives no such score")


def _exactly(found: Agreement) -> Agreement:
    """On the machine of the record, where the same bits come out."""
    if found.verdict != "within interval":
        return found
    return dataclasses.replace(
        found, verdict="not", basis=f"the machine of the record gives the same bits; {found.basis}"
    )


def _pairs(recorded: Sequence[Score], measured: Sequence[Score]) -> Iterator[tuple[Score, Score | None]]:
    """Scores of the same: of the same setting, else, as earlier records say less of theirs, of one that agrees; None
    where there is none, or more than one."""
    exact = {_key(score): score for score in measured}
    known = {_key(score) for score in recorded}
    others = [score for score in measured if _key(score) not in known]
    for old in recorded:
        alike = [exact[_key(old)]] if _key(old) in exact else [new for new in others if _alike(old, new)]
        yield old, alike[0] if len(alike) == 1 else None


def _key(score: Score) -> tuple[Any, ...]:
    return score.task, score.condition, score.metric, *sorted(score.setting.items())


def _alike(old: Score, new: Score) -> bool:
    same = (old.task, old.condition, old.metric) == (new.task, new.condition, new.metric)
    return same and all(old.setting[key] == new.setting[key] for key in old.setting.keys() & new.setting.keys())


def _by_example(old: Score, new: Score, both: Examples, *, whole: bool, level: float) -> Agreement:
    n = len(both.recorded)
    if both.recorded.dtype != np.bool_:
        moved = np.abs(both.measured.astype(np.float64) - both.recorded.astype(np.float64))
        same, near = float(moved.max()) <= ROUNDING, float(moved.mean()) <= CONFIDENCE_DRIFT
        verdict: AgreementVerdict = "same" if same else "within interval" if near else "not"
        basis = f"per-example values move by {float(moved.mean()):.2g} in the mean"
        if whole:
            # Equal confidences do not make equal scores: they say nothing of what is right.
            if verdict != "not" and abs(old.value - new.value) > ROUNDING:
                verdict = "within interval" if old.ci_low <= new.value <= old.ci_high else "not"
            return Agreement(old, old.value, new.value, n, verdict, basis)
        # A score that is no mean over examples, such as ECE, is another number on a sample: means are reported instead.
        means = (float(both.recorded.mean()), float(both.measured.mean()))
        return Agreement(old, *means, n, verdict, f"{basis}; means of these are shown")
    gained = int((both.measured & ~both.recorded).sum())
    lost = int((both.recorded & ~both.measured).sum())
    chance = sign_test(gained, lost)
    verdict = "same" if gained == lost == 0 else "within interval" if chance >= level else "not"
    basis = f"{gained} examples gained and {lost} lost, p = {chance:.2g}"
    return Agreement(old, float(both.recorded.mean()), float(both.measured.mean()), n, verdict, basis)


def _by_interval(old: Score, new: Score) -> Agreement:
    same, inside = abs(old.value - new.value) <= ROUNDING, old.ci_low <= new.value <= old.ci_high
    verdict: AgreementVerdict = "same" if same and old.n == new.n else "within interval" if inside else "not"
    return Agreement(
        old, old.value, new.value, new.n, verdict, f"recorded interval {old.ci_low:.4g} - {old.ci_high:.4g}"
    )


def _by_both_intervals(old: Score, new: Score, *, level: float) -> Agreement:
    """Two intervals of 95 %, of which the one side that looks at the other counts, widened to the level."""
    up = new.value >= old.value
    ours, theirs = (
        (new.value - new.ci_low, old.ci_high - old.value) if up else (new.ci_high - new.value, old.value - old.ci_low)
    )
    room = float(ndtri(level / 2) / ndtri(0.025)) * math.hypot(ours, theirs)
    verdict: AgreementVerdict = "within interval" if abs(new.value - old.value) <= room + ROUNDING else "not"
    return Agreement(old, old.value, new.value, new.n, verdict, f"unpaired, may differ by {room:.4g}")
