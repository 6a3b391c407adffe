"""Which runs of two that are compared belong together, and what these runs measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from kdbench.comparing.contestants import Contestant
from kdbench.leaderboard.axes import Column, results
from kdbench.leaderboard.board import Axis, Measurement
from kdbench.leaderboard.cells import measurement
from kdbench.results.record import Record, Score
from kdbench.results.samples import PerExample

Scored = tuple[Record, Score, PerExample | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One of the two: the runs of it that are compared on a score."""

    title: str
    measured: Measurement
    """Over these runs."""
    examples: tuple[PerExample | None, ...]
    """Run by run."""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed, _ in self.measured.per_seed)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two contestants on a score."""

    axis: Axis
    ours: Side
    """Of the first."""
    theirs: Side
    by_seed: bool
    """Whether runs are one another's, seed by seed."""
    left_out: str
    """Seeds that only one of the two has, in words."""


def pairs(contestants: Sequence[Contestant], columns: Sequence[Column], *, by_seed: bool = True) -> Iterator[Pair]:
    """Each of the others with the first, score by score; without those of which one of the two has no run.

    Args:
        by_seed: where both have the same seeds, these alone count, one with the other.
    """
    first, *others = [Scores(one, columns) for one in contestants]
    for column in columns:
        for other in others:
            pair = _pair(column.axis, first, other, by_seed)
            if pair is not None:
                yield pair


class Scores:
    """What the finished runs of a contestant have on some columns; each file is read once."""

    def __init__(self, contestant: Contestant, columns: Sequence[Column]) -> None:
        self.contestant = contestant
        self._by_axis: dict[str, dict[int, Scored]] = {column.axis.key: {} for column in columns}
        for run in contestant.finished:
            examples = results(columns, run)
            for column in columns:
                key, score = column.axis.key, column.score(run)
                if score is not None:
                    self._by_axis[key][run.record.spec.seed] = run.record, score, examples.get(key)
        self.side = functools.lru_cache(maxsize=None)(self._side)

    def seeds(self, key: str) -> tuple[int, ...]:
        """Those that have a score on the axis of that key."""
        return tuple(self._by_axis[key])

    def _side(self, key: str, seeds: tuple[int, ...]) -> Side:
        scored = [self._by_axis[key][seed] for seed in seeds]
        return Side(self.contestant.title, measurement(scored), tuple(found for _, _, found in scored))


def _pair(axis: Axis, first: Scores, other: Scores, by_seed: bool) -> Pair | None:
    ours, theirs = first.seeds(axis.key), other.seeds(axis.key)
    if not ours or not theirs:
        return None
    common = tuple(seed for seed in ours if seed in theirs)
    if not by_seed or not common or first.contestant.evaluated or other.contestant.evaluated:
        return Pair(axis, first.side(axis.key, ours), other.side(axis.key, theirs), False, "")
    left_out = [
        f"{one.contestant.title} {', '.join(map(str, alone))}"
        for one, own in ((first, ours), (other, theirs))
        if (alone := [seed for seed in own if seed not in common])
    ]
    return Pair(axis, first.side(axis.key, common), other.side(axis.key, common), True, "; ".join(left_out))


def missing(contestants: Sequence[Contestant], columns: Sequence[Column]) -> list[str]:
    """Who has no score where others have one, in words."""
    titles: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        lacking = tuple(one.title for one in contestants if all(column.score(run) is None for run in one.finished))
        titles.setdefault(lacking, []).append(column.axis.title)
    return [
        f"{', '.join(axes)}: no score of {'any of them' if len(lacking) == len(contestants) else ', '.join(lacking)}"
        for lacking, axes in titles.items()
        if lacking
    ]
