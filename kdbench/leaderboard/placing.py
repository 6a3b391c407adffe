"""Where methods stand over all axes that count: for weights of the families of axes, and over all weights.

Axes of one family are averaged first, then families by their weights, so that what is measured twice counts once. A
method's mean is that of its midranks. Its lowest is the same mean of its first ranks, its highest that of its last
ones. Its first place is one more than the number of methods whose highest is below its lowest, its last place the
number of methods less those whose lowest is above its highest: where the true rank on each axis is within the ranks
that the tests leave open, the true place is within these places.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from kdbench.leaderboard.board import Axis, Cell, Row
from kdbench.results.families import family_order

WEIGHTINGS: Final = 10_000
"""Draws of weights: a share of them is known to half a point."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """A method among those with a mean rank."""

    mean: float
    low: float
    high: float
    place: int
    """First possible place, from 1."""
    last_place: int

    @property
    def places(self) -> str:
        """The place, or the first and the last with a dash between them."""
        return str(self.place) if self.place == self.last_place else f"{self.place}\N{EN DASH}{self.last_place}"


def families(axes: Sequence[Axis]) -> dict[str, tuple[Axis, ...]]:
    """Family to its axes, the counted ones first in their order, families in the order in which they are shown."""
    names = sorted({axis.family for axis in axes}, key=family_order)
    return {
        name: tuple(sorted((axis for axis in axes if axis.family == name), key=lambda axis: not axis.counts))
        for name in names
    }


def family_ranks(axes: Sequence[Axis], cells: Mapping[str, Cell]) -> dict[str, tuple[float, float, float]]:
    """Family to the means of the midranks, first and last ranks of its counted axes; every one must have a cell."""
    found: dict[str, tuple[float, float, float]] = {}
    for name, own in families([axis for axis in axes if axis.counts]).items():
        ranked = [cells[axis.key] for axis in own]
        sums = (
            sum(cell.midrank for cell in ranked),
            sum(cell.rank for cell in ranked),
            sum(c.last_rank for c in ranked),
        )
        found[name] = (sums[0] / len(ranked), sums[1] / len(ranked), sums[2] / len(ranked))
    return found


def weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of a value per family, weights need not sum to 1; from the first to the last, so that every program that
    adds in this order gets the same bits."""
    total, weight = 0.0, 0.0
    for value, share in zip(values, weights, strict=True):
        total += share * value
        weight += share
    return total / weight


def standings(
    rows: Sequence[Row], axes: Sequence[Axis], weights: Mapping[str, float] | None = None
) -> list[Standing | None]:
    """Of each row; None for one without a mean rank.

    Args:
        rows: of a board.
        axes: of the board.
        weights: of families, 0 or more and not all 0; a family that is not named has 1. None: all alike.
    """
    found = [None if row.mean_rank is None else family_ranks(axes, row.cells) for row in rows]
    known = [one for one in found if one is not None]
    if not known:
        return [None] * len(rows)
    shares = [1.0 if weights is None else weights.get(name, 1.0) for name in known[0]]
    means = [[weighted([part[which] for part in one.values()], shares) for which in range(3)] for one in known]
    lows, highs = sorted(low for _, low, _ in means), sorted(high for _, _, high in means)
    made = iter(
        Standing(mean, low, high, 1 + bisect.bisect_left(highs, low), bisect.bisect_right(lows, high))
        for mean, low, high in means
    )
    return [None if one is None else next(made) for one in found]


def first_shares(rows: Sequence[Row], axes: Sequence[Axis], draws: int = WEIGHTINGS, seed: int = 0) -> list[float]:
    """The share of weightings, uniform over all that sum to 1, under which each row has the lowest mean; rows that have
    it together share it. 0 for one without a mean rank. The same seed gives the same shares."""
    ranked = [place for place, row in enumerate(rows) if row.mean_rank is not None]
    shares = np.zeros(len(rows))
    if not ranked:
        return shares.tolist()
    ranks = np.array([[part[0] for part in family_ranks(axes, rows[place].cells).values()] for place in ranked])
    weights = np.random.default_rng(seed).dirichlet(np.ones(ranks.shape[1]), draws)
    for some in np.array_split(weights, max(1, draws // 1000)):  # a thousand methods fit into memory
        means = some @ ranks.T
        first = means <= means.min(1, keepdims=True) + 1e-9
        shares[ranked] += (first / first.sum(1, keepdims=True)).sum(0) / draws
    return shares.tolist()
