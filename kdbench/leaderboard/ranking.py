"""Records to boards: one a suite, each with its axes, its rows, all pairs of rows compared, and ranks.

A method's first rank on an axis is 1 + the number of methods that are significantly better, its last one the number of
methods less those that are significantly worse: paired tests, 5 % over all pairs of the axis after Holm's correction.
What cannot be told apart shares ranks. The middle counts for the mean rank, so that scatter, with which no test finds
anything, moves a method to the middle and not to the front. A doubtful score comes after all others.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench.leaderboard.axes import Column, columns, results
from kdbench.leaderboard.board import Board, Boards, Cell, Pairs
from kdbench.leaderboard.grouping import Group, group
from kdbench.leaderboard.rows import Entry, entries, file_key, row, twins
from kdbench.results import comparison
from kdbench.results.comparison import Differences, Sample
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.record import Record, Score
from kdbench.results.samples import PerExample, sample
from kdbench.results.store import read_records
from kdbench.results.untrusted import plain

Bools = NDArray[np.bool_]

MOST_NAMED = 5
"""Runs that a note names."""


def rank(folder: Path | str) -> Boards:
    """Read a folder of records and rank every suite in it."""
    return make_boards(*read_records(folder))


def make_boards(found: Sequence[Evidence], excluded: Sequence[Excluded] = ()) -> Boards:
    """The same from what is read already; files excluded go to the board of the suite that they name."""
    groups = group(found)
    names = {one.suite.name for one in groups}
    boards = tuple(_board(one, [a for a in excluded if a.suite == one.suite.name]) for one in groups)
    return Boards(boards, tuple(one for one in excluded if one.suite not in names))


def _board(group: Group, excluded: Sequence[Excluded]) -> Board:
    made, others = entries(group.runs)
    finished = [run for entry in made for run in entry.runs]
    axes = columns(group.suite, finished)
    found = {run.record.run_id: results(axes, run) for run in finished}
    cells: list[dict[str, Cell]] = [{} for _ in made]
    pairs: dict[str, Pairs] = {}
    doubts: list[str] = []
    for column in axes:
        samples, scores = _samples(column, made, found, doubts)
        compared = comparison.differences(samples)
        significant = comparison.significant(compared)
        pairs[column.axis.key] = Pairs(
            compared.value, compared.half_width, compared.p_value, significant, compared.paired
        )
        flags = [
            _flags(column, entry.runs) if one is not None else () for entry, one in zip(made, samples, strict=True)
        ]
        ranks = _ranks(compared, significant, flags, column.axis.higher_is_better)
        for place, one in enumerate(samples):
            if one is not None:
                cells[place][column.axis.key] = _cell(one, scores[place], flags[place], ranks[place])
    order, mean_ranks = _order(made, cells, [column.axis.key for column in axes])
    suite = group.suite
    return Board(
        suite=suite.name,
        key=file_key(suite.name),
        title=suite.title,
        why=suite.why,
        version=suite.version,
        tasks=group.tasks,
        notes=(*_notes(group, made, doubts), *_silent(axes, pairs)),
        axes=tuple(column.axis for column in axes),
        rows=tuple(row(made[place], cells[place], mean_ranks[place]) for place in order),
        pairs={key: _ordered(one, order) for key, one in pairs.items()},
        excluded=(*group.excluded, *others, *excluded),
    )


def _silent(axes: Sequence[Column], pairs: Mapping[str, Pairs]) -> Iterable[str]:
    """Axes that decide nothing: first place there is no merit."""
    for column in axes:
        one = pairs[column.axis.key]
        if not one.significant.any() and (~np.isnan(np.diag(one.value))).sum() > 1:
            yield f"{column.axis.title}: no two methods differ significantly, so that its first place says nothing."


def _samples(
    column: Column, made: Sequence[Entry], found: Mapping[str, Mapping[str, PerExample]], doubts: list[str]
) -> tuple[list[Sample | None], list[tuple[tuple[int, Score], ...]]]:
    """What is compared on one axis, row by row, and each row's score for each seed."""
    samples: list[Sample | None] = []
    scores: list[tuple[tuple[int, Score], ...]] = []
    for entry in made:
        scored = [(run, score) for run in entry.runs if (score := column.score(run)) is not None]
        scores.append(tuple((run.record.spec.seed, score) for run, score in scored))
        if not scored:
            samples.append(None)
            continue
        behind = [found[run.record.run_id].get(column.axis.key) for run, _ in scored]
        one, doubtful = sample([score for _, score in scored], behind)
        samples.append(one)
        if doubtful:
            doubts.append(
                f"{plain(entry.method)}: per-example results do not give its {column.axis.title} for all seeds."
            )
    return samples, scores


def _flags(column: Column, runs: Iterable[Evidence]) -> tuple[str, ...]:
    """Why a row's score on an axis is doubtful: each reason once, with the seeds that it holds for."""
    reasons: dict[str, list[int]] = {}
    for run in runs:
        score = column.score(run)
        for reason in _doubts(run.record, score) if score is not None else ():
            reasons.setdefault(reason, []).append(run.record.spec.seed)
    return tuple(f"{reason} (seed {', '.join(map(str, seeds))})." for reason, seeds in reasons.items())


def _doubts(record: Record, score: Score) -> Iterable[str]:
    for check in record.flags(score):
        yield plain(f"Check {check.name} of {check.task} failed: {check.meaning}", 400)
    for check in record.checks:
        concerned = (check.task, check.condition) == (score.task, score.condition)
        if check.name == "random_model" and concerned and check.value > 0 and "votes" not in score.setting:
            yield "It answers at random, and was attacked without averaging gradients over its draws"
    if record.checkpoint_rule == "best-on-test":
        yield "Its checkpoint was chosen on the test images"


def _ranks(
    compared: Differences, significant: Bools, flags: Sequence[tuple[str, ...]], higher_is_better: bool
) -> list[tuple[int, int]]:
    """First and last rank of each row; (0, 0) where it has no score."""
    scored = ~np.isnan(np.diag(compared.value))
    doubtful = np.array([bool(reasons) for reasons in flags], dtype=bool)
    with np.errstate(invalid="ignore"):
        better = significant & ((compared.value > 0) == higher_is_better)
    # Among those of the same kind; what is doubtful comes after all that is not.
    better &= doubtful[:, None] == doubtful
    first = 1 + better.sum(0) + np.where(doubtful, (scored & ~doubtful).sum(), 0)
    last = np.where(doubtful, scored.sum(), (scored & ~doubtful).sum()) - better.sum(1)
    return [
        (int(lowest), int(highest)) if there else (0, 0)
        for lowest, highest, there in zip(first, last, scored, strict=True)
    ]


def _cell(one: Sample, scores: tuple[tuple[int, Score], ...], flags: tuple[str, ...], ranks: tuple[int, int]) -> Cell:
    estimate = comparison.estimate(one)
    return Cell(
        value=statistics.fmean(score.value for _, score in scores),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        basis=estimate.basis,
        n=one.n,
        per_seed=scores,
        rank=ranks[0],
        last_rank=ranks[1],
        best=ranks[0] == 1 and not flags,
        flags=flags,
    )


def _order(
    made: Sequence[Entry], cells: Sequence[Mapping[str, Cell]], axes: Sequence[str]
) -> tuple[list[int], list[float | None]]:
    """Rows by mean rank, which only those have that were measured on every axis with every seed."""
    mean_ranks: list[float | None] = [
        statistics.fmean(own[axis].midrank for axis in axes)
        if axes
        and not entry.failed
        and all(axis in own and len(own[axis].per_seed) == len(entry.runs) for axis in axes)
        else None
        for entry, own in zip(made, cells, strict=True)
    ]

    def key(place: int) -> tuple[bool, float, str, str]:
        mean = mean_ranks[place]
        return mean is None, mean or 0.0, made[place].method.casefold(), made[place].title

    return sorted(range(len(made)), key=key), mean_ranks


def _ordered(pairs: Pairs, order: Sequence[int]) -> Pairs:
    places = np.ix_(order, order)
    return Pairs(
        pairs.value[places],
        pairs.half_width[places],
        pairs.p_value[places],
        pairs.significant[places],
        pairs.paired[places],
    )


def _notes(group: Group, made: Sequence[Entry], doubts: Sequence[str]) -> Iterable[str]:
    """What a reader must know before believing a number."""
    yield "The order is by mean rank, whose differences are not tested."
    if not group.installed:
        yield "This suite is not installed here as these records have it: they say themselves what it is."
    seeds = [len(entry.runs) for entry in made if entry.runs]
    if 1 in seeds:
        which = "Every method has" if set(seeds) == {1} else f"{seeds.count(1)} of {len(seeds)} methods have"
        yield (
            f"{which} one seed only: the interval is over test examples alone and says nothing of what another seed "
            "would give."
        )
    if group.suite.networks:
        yield "The suite's own networks are trained once and shared by all runs: no interval is over other ones."
    if any(one.noise is not None for one in group.suite.conditions.values()):
        yield "Noisy labels are drawn once for all methods and seeds: no interval is over other draws."
    if group.suite.ood:
        used = sorted({name for run in group.runs for name in run.record.spec.datasets} - {group.suite.dataset})
        yield f"Out of distribution: {', '.join(map(plain, used)) or 'no set was at hand'}."
    images = {run.record.spec.corruption_images for run in group.runs}
    yield f"Corrupted images: {', '.join(sorted(images))}."
    yield from twins(made)
    yield from _without_predictions(group.runs)
    yield from doubts


def _without_predictions(runs: Sequence[Evidence]) -> Iterable[str]:
    """Runs that are compared by their scores' intervals, by what is the matter."""
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if run.predictions is None and run.record.status == "finished":
            reason = next((note for note in run.notes if note.startswith("predictions.npz")), "no predictions.npz")
            reasons.setdefault(reason, []).append(f"{run.record.run_id} of {plain(run.record.spec.method, 60)}")
    for reason, named in reasons.items():
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        yield f"Compared by their scores alone, as {reason}: run {', '.join(named[:MOST_NAMED])}{more}."
