"""From the methods' samples on one axis to their ranks.

A method's first rank is 1 + the number of methods that are significantly better, its last one the number of methods
less those that are significantly worse: paired tests, 5 % over all pairs of the axis after Holm's correction. Methods
that do not differ significantly share ranks. A method with one seed is not tested: nothing is known of how its seeds
differ, so that its place among the others stays open. Those that have the seeds for a mean rank are ranked among
themselves, the others among all. The midrank counts for the mean rank, so that scatter, with which no test finds
anything, moves a method to the middle and not to the front. A doubtful score comes after all others, and after these
come models that were not trained here: how many of them, or of methods with few seeds, are on a board is no method's
merit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.leaderboard.board import Axis, Cell, Mark, Measurement, Pairs
from kdbench.leaderboard.marks import marks
from kdbench.results import comparison

Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class RankedAxis:
    """An axis with its cells and all their differences, in the order in which the methods were given."""

    axis: Axis
    cells: tuple[Cell | None, ...]
    """None for a method that was not measured."""
    pairs: Pairs


def rank_axis(axis: Axis, measured: Sequence[Measurement | None]) -> RankedAxis:
    """Compare all methods on one axis; None for one that was not measured."""
    differences = _tested(comparison.differences([None if one is None else one.sample for one in measured]), measured)
    pairs = Pairs(
        differences.value,
        differences.half_width,
        differences.p_value,
        _significant(differences, measured),
        differences.paired,
    )
    scored = [place for place, one in enumerate(measured) if one is not None]
    better = pairs.significant & (axis.sign * pairs.value > 0)
    last = np.array([2 if one.evaluated else int(bool(one.flags)) for one in measured if one is not None], dtype=int)
    few = np.array([one.few_seeds for one in measured if one is not None], dtype=bool)
    ranges = iter(rank_ranges(better[np.ix_(scored, scored)], last, few))
    cells = tuple(
        None if one is None else _ranked(one, *next(ranges), mark)
        for one, mark in zip(measured, marks(axis, measured, pairs), strict=True)
    )
    return RankedAxis(axis, cells, pairs)


def _tested(differences: comparison.Differences, measured: Sequence[Measurement | None]) -> comparison.Differences:
    """Without p-values where either method has one seed, but for a method's own with itself."""
    several = np.array([one is not None and not one.one_seed for one in measured], dtype=bool)
    tested = several[:, None] & several | np.eye(len(several), dtype=bool)
    return dataclasses.replace(differences, p_value=np.where(tested, differences.p_value, np.nan))


def _significant(differences: comparison.Differences, measured: Sequence[Measurement | None]) -> Bools:
    """(K, K): which pairs differ, over all pairs together; where both have the seeds for a mean rank, over all of those
    pairs: what has fewer costs them no power."""
    enough = np.array([one is not None and not one.few_seeds for one in measured], dtype=bool)
    both = enough[:, None] & enough
    own = dataclasses.replace(differences, p_value=np.where(both, differences.p_value, np.nan))
    return np.where(both, comparison.significant(own), comparison.significant(differences))


def rank_ranges(better: Bools, league: NDArray[np.int_], few: Bools) -> list[tuple[int, int]]:
    """First and last rank of each method.

    Args:
        better: (K, K), whether method i is significantly better than method j.
        league: (K,), 0, 1, ...: methods are ranked among those of their league, after all of lower ones.
        few: (K,), whether a method has too few seeds to count where one that has enough is ranked.

    >>> better = np.array([[False, True, True], [False, False, False], [False, False, False]])
    >>> rank_ranges(better, np.zeros(3, dtype=int), np.zeros(3, dtype=bool))
    [(1, 1), (2, 3), (2, 3)]
    >>> rank_ranges(better, np.zeros(3, dtype=int), np.array([False, False, True]))
    [(1, 1), (2, 2), (2, 3)]
    """
    counts = few | ~few[:, None]  # method i where j is ranked
    among = better & (league[:, None] == league)
    before = (counts & (league[:, None] < league)).sum(0)
    upto = (counts & (league[:, None] <= league)).sum(0)
    first, last = 1 + before + (counts & among).sum(0), upto - (counts.T & among).sum(1)
    return [(int(low), int(high)) for low, high in zip(first, last, strict=True)]


def _ranked(measured: Measurement, rank: int, last_rank: int, mark: Mark) -> Cell:
    return Cell(**vars(measured), rank=rank, last_rank=last_rank, mark=mark)
