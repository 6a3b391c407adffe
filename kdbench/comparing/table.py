"""The differences between methods, score by score: over seeds and test images, and image by image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from kdbench.comparing.contestants import Contestant
from kdbench.comparing.pairs import Pair, pairs
from kdbench.leaderboard.axes import Column
from kdbench.leaderboard.board import Axis
from kdbench.results.comparison import LEVEL, difference, holm, sign_test

Test = Literal["seeds and examples", "McNemar", "examples", ""]


@dataclasses.dataclass(frozen=True)
class Discordant:
    """Two networks on the same test images, whose answers are right or wrong."""

    seeds: tuple[int, int]
    """Of the first and of the other."""
    gained: int
    """Images that only the other answers rightly."""
    lost: int
    """Images that only the first does."""

    @property
    def p_value(self) -> float:
        """McNemar's exact test."""
        return sign_test(self.gained, self.lost)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One score of two of those that are compared."""

    axis: Axis
    first: str
    """Titles."""
    other: str
    value_first: float
    """Mean over the seeds that are compared."""
    value_other: float
    difference: float
    """By how much the other is better: other less first, first less other where lower is better."""
    ci_low: float
    ci_high: float
    """95 % interval of the difference."""
    test: Test
    """What the p-value is of. "seeds and examples": another mean over other seeds and test images. With one seed of
    each it is of these two networks, and says nothing of other seeds: McNemar's exact test on right and wrong answers,
    or a t test over "examples". "": nothing is tested, as one of the two has several seeds and the other one."""
    p_value: float | None
    """Two-sided, not corrected."""
    p_holm: float | None = None
    """Holm's correction over all rows of the table."""
    seeds_first: tuple[int, ...]
    seeds_other: tuple[int, ...]
    by_seed: bool
    """Whether seeds are paired: these are the same."""
    paired: bool
    """Whether test images are."""
    n: int
    """Test images."""
    discordant: tuple[Discordant, ...]
    """By seed, of right and wrong answers to the same images."""
    flags: tuple[str, ...]
    """Why a score is doubtful, with whose it is."""
    remarks: tuple[str, ...]
    """What a reader must know of how it was compared."""

    @property
    def better(self) -> str:
        """The title of who is significantly better, at 5 % over the table; "" where nobody is."""
        if self.p_holm is None or self.p_holm >= LEVEL:
            return ""
        return self.other if self.difference > 0 else self.first


def compare(contestants: Sequence[Contestant], columns: Sequence[Column], *, by_seed: bool = True) -> list[Row]:
    """Each of the others against the first, score by score; a score that one of the two lacks has no row.

    Args:
        by_seed: pair seeds where both have the same, and leave out those that one of the two lacks; otherwise the seeds
            of the two are independent, as on a leaderboard.
    """
    rows = [_row(pair) for pair in pairs(contestants, columns, by_seed=by_seed)]
    tests = [math.nan if row.p_value is None else row.p_value for row in rows]
    return [
        row if math.isnan(p) else dataclasses.replace(row, p_holm=float(p))
        for row, p in zip(rows, holm(tests), strict=True)
    ]


def _row(pair: Pair) -> Row:
    ours, theirs = pair.ours, pair.theirs
    several = len(ours.seeds), len(theirs.seeds)
    samples = [theirs.measured.sample, ours.measured.sample][:: pair.axis.sign]
    found = difference(*samples, by_seed=pair.by_seed and min(several) > 1)
    discordant = tuple(_discordant(pair)) if found.paired and (pair.by_seed or max(several) == 1) else ()
    test: Test = "examples"
    p_value: float | None = found.p_value
    if max(several) > 1:
        test, p_value = ("seeds and examples", p_value) if min(several) > 1 else ("", None)
    elif discordant:
        test, p_value = "McNemar", discordant[0].p_value
    return Row(
        axis=pair.axis,
        first=ours.title,
        other=theirs.title,
        value_first=ours.measured.value,
        value_other=theirs.measured.value,
        difference=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        test=test,
        p_value=p_value,
        seeds_first=ours.seeds,
        seeds_other=theirs.seeds,
        by_seed=pair.by_seed,
        paired=found.paired,
        n=min(ours.measured.n, theirs.measured.n),
        discordant=discordant,
        flags=tuple(f"{side.title}: {flag}" for side in (ours, theirs) for flag in side.measured.flags),
        remarks=tuple(_remarks(pair)),
    )


def _discordant(pair: Pair) -> Iterator[Discordant]:
    sides = zip(pair.ours.seeds, pair.theirs.seeds, pair.ours.examples, pair.theirs.examples, strict=True)
    for one, other, ours, theirs in sides:
        if ours is None or theirs is None or not ours.values.dtype == theirs.values.dtype == np.bool_:
            return
        gained, lost = (theirs.values & ~ours.values).sum(), (ours.values & ~theirs.values).sum()
        yield Discordant((one, other), int(gained), int(lost))


def _remarks(pair: Pair) -> Iterator[str]:
    names = f"{pair.ours.title} and {pair.theirs.title}"
    if pair.left_out:
        yield f"seeds that only one of {names} has are left out: {pair.left_out}"
    elif not pair.by_seed and max(len(pair.ours.seeds), len(pair.theirs.seeds)) > 1:
        yield f"seeds of {names} are taken as independent"
    for side in (pair.ours, pair.theirs):
        if side.measured.contradicted:
            yield f"per-example results of {side.title} do not give its scores for all seeds"


def unpaired(rows: Sequence[Row]) -> list[str]:
    """Which scores are compared by their own intervals, in words: a line for each two."""
    titles: dict[str, list[str]] = {}
    for row in rows:
        if not row.paired:
            titles.setdefault(f"{row.first} and {row.other}", []).append(row.axis.title)
    why = "no per-example results of the same test images for both, so that intervals are those of two independent "
    return [f"{', '.join(axes)}: {names}: {why}scores, far wider" for names, axes in titles.items()]
