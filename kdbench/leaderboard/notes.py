"""What a reader of a board must know before believing a number, a sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kdbench.leaderboard.board import Row
from kdbench.leaderboard.grouping import Group
from kdbench.leaderboard.ranks import RankedAxis
from kdbench.leaderboard.rows import unequal_views
from kdbench.results.evidence import Evidence
from kdbench.results.headline import RANKED_SEEDS
from kdbench.results.untrusted import plain
from kdbench.specs import Suite

MOST_NAMED: Final = 5
"""Runs that a note names."""


def notes(group: Group, rows: Sequence[Row], ranked: Sequence[RankedAxis]) -> tuple[str, ...]:
    """The notes of one board: of its suite, its rows and its axes."""
    runs = [run for row in rows for run in row.records]
    return (
        "The order is by mean rank, whose differences are not tested.",
        *_of_changes(group.suite),
        *_of_installation(group),
        *_of_elsewhere(rows),
        *_of_seeds([row for row in rows if row.evaluated is None]),
        *_of_suite(group.suite),
        *_of_unplanned(group.suite, ranked),
        *_of_images(group.suite, runs),
        *_of_names(rows),
        *_of_views(rows),
        *(f"{plain(row.title)}: {remark}." for row in rows for remark in row.remarks),
        *_without_predictions(runs),
        *_of_contradictions(rows, ranked),
        *_of_undecided_axes(ranked),
    )


def _of_changes(suite: Suite) -> Iterator[str]:
    if suite.changed:
        yield f"Not the standard setting of suite {plain(suite.name)}: these values were set by hand."


def _of_installation(group: Group) -> Iterator[str]:
    if not group.installed:
        yield "This suite is not installed here as these records have it: they say themselves what it is."


def _of_elsewhere(rows: Sequence[Row]) -> Iterator[str]:
    named = [plain(row.evaluated.source, 60) for row in rows if row.evaluated is not None]
    if named:
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        yield (
            f"Evaluated, not trained here, so that they have no mean rank and change nobody's: "
            f"{', '.join(named[:MOST_NAMED])}{more}."
        )


def _of_seeds(rows: Sequence[Row]) -> Iterator[str]:
    seeds = [len(row.runs) for row in rows if row.runs]
    if 1 in seeds:
        which = "Every method has" if set(seeds) == {1} else f"{seeds.count(1)} of {len(seeds)} methods have"
        yield (
            f"{which} one seed only: the interval is over test examples alone and says nothing of what another seed "
            "would give, so that no test compares it and its ranks stay open."
        )
    if any(count < RANKED_SEEDS for count in seeds):
        yield f"A mean rank needs {RANKED_SEEDS} seeds."


def _of_suite(suite: Suite) -> Iterator[str]:
    if suite.networks:
        yield "The suite's own networks are trained once and shared by all runs: no interval is over other ones."
    if any(condition.noise is not None for condition in suite.conditions.values()):
        yield "Noisy labels are drawn once for all methods and seeds: no interval is over other draws."


def _of_unplanned(suite: Suite, ranked: Sequence[RankedAxis]) -> Iterator[str]:
    titles = [plain(one.axis.title) for one in ranked if one.axis.task not in suite.tasks]
    if titles:
        yield f"Not planned by the suite, and no part of the mean rank: {', '.join(titles)}."


def _of_images(suite: Suite, runs: Sequence[Evidence]) -> Iterator[str]:
    if suite.ood:
        used = sorted({name for run in runs for name in run.record.spec.datasets} & set(suite.ood))
        yield f"Out of distribution: {', '.join(map(plain, used)) or 'no set was available'}."
    yield f"Corrupted images: {', '.join(sorted({run.record.spec.corruption_images for run in runs}))}."


def _of_names(rows: Iterable[Row]) -> Iterator[str]:
    """Each set of methods whose names differ only by case."""
    spellings: dict[str, set[str]] = {}
    for row in rows:
        spellings.setdefault(row.method.casefold(), set()).add(row.method)
    for _, names in sorted(spellings.items()):
        if len(names) > 1:
            listed = ", ".join(plain(name) for name in sorted(names))
            yield f"These methods differ only by the case of their names, and each has its row: {listed}."


def _of_views(rows: Sequence[Row]) -> Iterator[str]:
    """Where the order is also one of augmentations."""
    conditions = unequal_views(rows)
    if conditions:
        yield (
            f"Students did not all see the same view of the training images ({', '.join(map(plain, conditions))}): "
            "each row says which."
        )


def _without_predictions(runs: Iterable[Evidence]) -> Iterator[str]:
    """Runs that are compared by their scores' intervals, by what is the matter."""
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if run.predictions is None and run.record.status == "finished":
            reason = next((note for note in run.notes if note.startswith("predictions.npz")), "no predictions.npz")
            reasons.setdefault(reason, []).append(f"{run.record.run_id} of {plain(run.record.spec.method, 60)}")
    for reason, named in reasons.items():
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        yield f"Compared by their scores alone, as {reason}: run {', '.join(named[:MOST_NAMED])}{more}."


def _of_contradictions(rows: Sequence[Row], ranked: Sequence[RankedAxis]) -> Iterator[str]:
    for axis in (one.axis for one in ranked):
        for row in rows:
            if axis.key in row.cells and row.cells[axis.key].contradicted:
                yield f"{plain(row.title)}: per-example results do not give its {axis.title} for all seeds."


def _of_undecided_axes(ranked: Sequence[RankedAxis]) -> Iterator[str]:
    """First place there is no merit."""
    for one in ranked:
        tested = sum(cell is not None and not cell.one_seed for cell in one.cells)
        if tested > 1 and not one.pairs.significant.any():
            yield f"{one.axis.title}: no two methods differ significantly, so that its first place says nothing."
