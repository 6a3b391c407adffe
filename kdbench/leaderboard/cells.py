"""One method on one axis, from its own runs: its score for each seed, their mean and interval, and why to doubt it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from kdbench.leaderboard.axes import Column, results
from kdbench.leaderboard.board import Measurement
from kdbench.results.comparison import estimate
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record, Score
from kdbench.results.samples import PerExample, sample
from kdbench.results.untrusted import plain


def measure(
    columns: Sequence[Column], runs: Sequence[Evidence], failed: Sequence[Evidence] = ()
) -> dict[str, Measurement]:
    """Axis key to what the finished runs of one method, one per seed, have; an axis without a score is not there.

    ``failed`` runs are never averaged. Where they have no score, what the others have is doubtful: they went well.
    """
    found_by_run = [results(columns, run) for run in runs]
    measured: dict[str, Measurement] = {}
    for column in columns:
        scored = [
            (run.record, score, found.get(column.axis.key))
            for run, found in zip(runs, found_by_run, strict=True)
            if (score := column.score(run)) is not None
        ]
        if scored:
            lost = [run.record.spec.seed for run in failed if column.score(run) is None]
            measured[column.axis.key] = measurement(scored, lost)
    return measured


def measurement(scored: Sequence[tuple[Record, Score, PerExample | None]], lost: Sequence[int] = ()) -> Measurement:
    """One score of the runs of one method, one per seed, with the per-example results that each comes from.

    ``lost``: seeds whose runs failed before they had it.
    """
    scores = [score for _, score, _ in scored]
    compared, contradicted = sample(scores, [found for _, _, found in scored])
    known = estimate(compared)
    return Measurement(
        value=statistics.fmean(score.value for score in scores),
        ci_low=known.ci_low,
        ci_high=known.ci_high,
        basis=known.basis,
        n=compared.n,
        per_seed=tuple((record.spec.seed, score) for record, score, _ in scored),
        sample=compared,
        contradicted=contradicted,
        flags=(*flags((record, score) for record, score, _ in scored), *_lost(lost)),
        evaluated=scored[0][0].evaluated is not None,
    )


def flags(scored: Iterable[tuple[Record, Score]]) -> tuple[str, ...]:
    """Why a method's score is doubtful: each reason once, with the seeds that it holds for."""
    reasons: dict[str, list[int]] = {}
    for record, score in scored:
        for reason in _doubts(record, score):
            reasons.setdefault(reason, []).append(record.spec.seed)
    return tuple(f"{reason} (seed {', '.join(map(str, seeds))})." for reason, seeds in reasons.items())


def _lost(seeds: Sequence[int]) -> Iterable[str]:
    if seeds:
        runs = f"The run{'s' * (len(seeds) > 1)} failed, and the score is of those that did not"
        yield f"{runs} (seed {', '.join(map(str, seeds))})."


def _doubts(record: Record, score: Score) -> Iterable[str]:
    for check in record.flags(score):
        yield plain(f"Check {check.name} of {check.task} failed: {check.meaning}", 400)
    for check in record.checks:
        concerned = (check.task, check.condition) == (score.task, score.condition)
        if check.name == "random_model" and concerned and check.value > 0 and "votes" not in score.setting:
            yield "It answers at random, and was attacked without averaging gradients over its draws"
    if record.checkpoint_rule == "best-on-test":
        yield "Its checkpoint was chosen on the test images"
