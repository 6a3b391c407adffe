"""What each score of a record rests on: whether validation recomputed it, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.leaderboard.case import Case
from kdbench.results.record import Score

Basis = Literal["checked", "derived", "unchecked"]
"""``checked``: the mean of its own per-example results; ``derived``: recomputed by its task from these or from other
scores; ``unchecked``: held against bounds at most, so that only measuring again can tell."""
BASES: Final[tuple[Basis, ...]] = ("checked", "derived", "unchecked")


def basis_of(case: Case, score: Score) -> Basis:
    """What a score rests on, where the record has no error."""
    try:
        known = case.task(score.task)
    except KdbenchError:  # settings that the task refuses
        known = None
    if known is None or case.predictions is None:
        return "unchecked"
    task, _ = known
    array = case.predictions.get(f"{score.condition}/{score.task}/{task.results_key(score)}")
    if array is not None and array.dtype == np.bool_ and array.shape == (score.n,):
        return "checked"
    return "derived" if task.derives(score) else "unchecked"


def by_basis(case: Case) -> Mapping[Basis, list[Score]]:
    """All scores of a record, each under what it rests on."""
    found: dict[Basis, list[Score]] = {basis: [] for basis in BASES}
    for score in case.record.scores:
        found[basis_of(case, score)].append(score)
    return found
