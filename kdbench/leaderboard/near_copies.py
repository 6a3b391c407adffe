"""Records that are right and wrong on almost the very same images as another training's: a copy, touched up?

Two trainings are wrong on different images. Among the 435 pairs of the 30 published records of ``cifar10-lite``, ten
methods with three seeds each, the fewest on which one of the two alone is wrong are 23 % of those on which either is,
for two seeds of one method. What is nearer is suspected, and named on both sides, as nobody knows who was first.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kdbench.results.evidence import Evidence
from kdbench.results.signatures import TELLING
from kdbench.results.untrusted import plain

NEAR: Final = 0.05
"""Share of the images that either is wrong on, up to which one of the two alone is."""
LEAST: Final = 100
"""Images that either is wrong on, below which so few may be chance."""
Group = tuple[str, str, str, int]
"""Suite, condition, name of the results and hash of their images, how many."""


@dataclasses.dataclass(frozen=True)
class NearCopy:
    """Two records whose answers are nearly the same."""

    run: Evidence
    other: Evidence
    condition: str
    apart: int
    """Images that one of the two alone is wrong on."""
    wrong: int
    """Images that either is wrong on."""

    def __str__(self) -> str:
        theirs = self.other.record
        return (
            f"suspected copy: under {plain(self.condition, 80)} it is wrong on almost the very images of run "
            f"{theirs.run_id} ({plain(theirs.spec.method, 80)}, seed {theirs.spec.seed}): of {self.wrong} that either "
            f"is wrong on, {self.apart} are of one alone"
        )


def near_copies(runs: Sequence[Evidence]) -> list[NearCopy]:
    """Every record with the first of another learner (method and seed) that it is so near to under a condition."""
    found: dict[int, NearCopy] = {}
    for condition, apart, wrong in _counted(runs):
        for place, beside in np.argwhere((wrong >= LEAST) & (apart <= NEAR * wrong)).tolist():
            run, other = runs[place], runs[beside]
            if place not in found and _learner(run) != _learner(other):
                numbers = int(apart[place, beside]), int(wrong[place, beside])
                found[place] = NearCopy(run, other, condition, *numbers)
    return list(found.values())


def _learner(run: Evidence) -> tuple[str, int]:
    return run.record.spec.method, run.record.spec.seed


def _counted(runs: Sequence[Evidence]) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Condition, and of each pair of runs, by their places, how many images one alone and either is wrong on."""
    groups: dict[Group, dict[int, NDArray[Any]]] = collections.defaultdict(dict)
    for place, run in enumerate(runs):
        for group, right in _answers(run):
            groups[group][place] = right
    by_condition: dict[tuple[str, str], list[dict[int, NDArray[Any]]]] = collections.defaultdict(list)
    for (suite, condition, _, _), members in groups.items():
        if len(members) > 1:
            by_condition[suite, condition].append(members)
    for (_, condition), several in by_condition.items():
        apart, wrong = np.zeros((2, len(runs), len(runs)))
        for members in several:
            places = np.array(list(members))
            lost = np.stack(list(members.values())).astype(np.float32)
            both, each = lost @ lost.T, lost.sum(1)
            either = each[:, None] + each[None] - both
            wrong[np.ix_(places, places)] += either
            apart[np.ix_(places, places)] += either - both
        yield condition, apart, wrong


def _answers(run: Evidence) -> Iterator[tuple[Group, NDArray[Any]]]:
    """Of each array of right answers that says something of one network: where it belongs, and what is wrong."""
    kept: Mapping[str, NDArray[Any]] = run.predictions or {}
    for name, right in kept.items():
        if right.dtype != np.bool_ or right.ndim != 1 or not right.size or not TELLING <= float(right.mean()) < 1:
            continue
        condition, _, rest = name.partition("/")
        index = kept.get(f"{condition}/{rest.partition('/')[0]}/index")
        images = "" if index is None else hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()
        yield (run.record.spec.suite.digest(), condition, f"{rest} {images}", len(right)), ~right
