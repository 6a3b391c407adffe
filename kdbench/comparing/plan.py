"""How many seeds would show a difference of a given size, from how far the seeds so far are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from kdbench.comparing.contestants import Contestant
from kdbench.comparing.pairs import Pair, pairs
from kdbench.errors import KdbenchError
from kdbench.leaderboard.axes import Column
from kdbench.leaderboard.board import Axis
from kdbench.results.planning import Spread, least_difference, paired_spread, seeds_needed, spread

FEW = 4
"""Seeds with which a spread is hardly known: with three the upper end of its interval is 6.3 times itself."""

MOST_NAMED = 6
"""Scores that a note names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needed:
    """One score of two methods. A number of seeds is of each method; None where ``MOST_SEEDS`` do not suffice."""

    axis: Axis
    first: str
    other: str
    difference: float
    """By how much the other is better, so far."""
    wanted: float
    """What is to be resolved."""
    have: int
    """Seeds so far, the fewer of the two."""
    by_seed: bool
    spread: Spread
    fixed: int | None
    """Needed on the test images that there are: by a t test over seeds."""
    fixed_range: tuple[int | None, int | None]
    """The same at the ends of the 95 % interval of the standard deviation over seeds."""
    needed: int | None
    """Needed over other test images as well: by the test that a comparison makes."""
    needed_range: tuple[int | None, int | None]
    least: float
    """The smallest difference that any number of seeds shows, on so many test images."""

    @property
    def more(self) -> int | None:
        """Seeds that are missing yet."""
        return None if self.needed is None else max(0, self.needed - self.have)


def plan(
    contestants: Sequence[Contestant], columns: Sequence[Column], wanted: float, *, by_seed: bool = True
) -> list[Needed]:
    """What it takes to find a difference with a power of 80 % at 5 %, two-sided, score by score.

    Args:
        wanted: the difference, as a fraction.
        by_seed: pair seeds that both have; otherwise they are independent.

    Raises:
        KdbenchError: no two have two seeds each with a score, so that no spread shows.
    """
    fractions = [column for column in columns if column.axis.unit == "fraction"]
    found = [pair for pair in pairs(contestants, fractions, by_seed=by_seed) if _have(pair) > 1]
    if not found:
        counts = ", ".join(f"{one.title} {len(one.finished)}" for one in contestants)
        together = " in common" if by_seed else ""
        raise KdbenchError(
            f"a spread over seeds needs two seeds{together}, found of {counts}", "run a second seed: --seed 0,1"
        )
    return [_needed(pair, wanted) for pair in found]


def _have(pair: Pair) -> int:
    return min(len(pair.ours.seeds), len(pair.theirs.seeds))


def _needed(pair: Pair, wanted: float) -> Needed:
    known = _spread(pair)
    low, high = (known.at(sd) for sd in known.sd_interval)
    numbers = [[seeds_needed(wanted, one, fixed_images=fixed) for one in (known, low, high)] for fixed in (True, False)]
    return Needed(
        axis=pair.axis,
        first=pair.ours.title,
        other=pair.theirs.title,
        difference=pair.axis.sign * (pair.theirs.measured.value - pair.ours.measured.value),
        wanted=wanted,
        have=_have(pair),
        by_seed=pair.by_seed,
        spread=known,
        fixed=numbers[0][0],
        fixed_range=(numbers[0][1], numbers[0][2]),
        needed=numbers[1][0],
        needed_range=(numbers[1][1], numbers[1][2]),
        least=least_difference(known),
    )


def _spread(pair: Pair) -> Spread:
    """Image by image where that is possible, else from the two samples."""
    sides = [[found for found in side.examples if found is not None] for side in (pair.ours, pair.theirs)]
    same = {(found.examples, found.values.shape) for own in sides for found in own}
    whole = all(len(own) == len(side.seeds) for own, side in zip(sides, (pair.ours, pair.theirs), strict=True))
    shares = all(found.correct is None for own in sides for found in own)
    if pair.by_seed and whole and shares and len(same) == 1 and not _contradicted(pair):
        ours, theirs = (np.stack([found.values for found in own]) for own in sides)
        return paired_spread(theirs, ours)
    return spread(pair.theirs.measured.sample, pair.ours.measured.sample, by_seed=pair.by_seed)


def _contradicted(pair: Pair) -> bool:
    return pair.ours.measured.contradicted or pair.theirs.measured.contradicted


def assumptions(rows: Sequence[Needed]) -> list[str]:
    """What the numbers rest on, a sentence each."""
    fewest = min(row.have for row in rows)
    how = " or ".join(sorted({"paired" if row.by_seed else "independent" for row in rows}))
    notes = [
        f"Shows {in_points(rows[0].wanted)}: with so many seeds of each method, a two-sided test at 5 % finds a "
        f"difference of that size 8 times in 10. Seeds are taken as {how}, and to scatter normally.",
        "These images: over seeds alone, on the test images that there are. Any images: over other test images too, "
        "which is what `kdbench compare` tests; `never`: not with 10,000 seeds.",
        "One test: Holm's correction over the rows of a table needs more.",
    ]
    if fewest < FEW:
        low, high = (row.spread.sd_interval[end] / row.spread.sd for row in rows[:1] for end in (0, 1))
        notes.append(
            f"With {fewest} seeds the spread itself is hardly known: its 95 % interval is from {low:.2f} to {high:.1f} "
            "times what was found. The ranges say what that makes of the number of seeds."
        )
    floor = sorted((row for row in rows if row.needed is None), key=lambda row: -row.least)
    if floor:
        named = "; ".join(f"{row.axis.title} ({row.other}) {100 * row.least:.2f}" for row in floor[:MOST_NAMED])
        notes.append(
            f"Where no number of seeds suffices, the test images decide: the least difference in points that they show "
            f"is {named}."
        )
    return notes


def in_points(fraction: float) -> str:
    """A fraction as percentage points.

    >>> in_points(0.01), in_points(0.025)
    ('1 point', '2.5 points')
    """
    return f"{100 * fraction:g} point{'s' * (fraction != 0.01)}"
