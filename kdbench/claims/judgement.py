"""One side of a comparison and the other: from records and the results beside them to a paired difference."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.claims.claim import Comparison, Measure, MethodConfig
from kdbench.claims.findings import ComparisonResult, Side
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.results.comparison import Sample, calibration_errors, difference, estimate, from_intervals, shares
from kdbench.results.record import Record, Score
from kdbench.tasks.scorecard import UNATTACKED

ROUNDING = 2e-3
"""By how much a score may differ from the mean of the results behind it: an ECE's confidences are kept in float32."""

Results = Mapping[str, NDArray[Any]]
"""Per-example results of a record: ``<condition>/<task>/<name>`` to an array."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """One side of a comparison: its score over seeds."""

    side: Side
    sample: Sample
    score: Score
    seeds: list[int]
    basis: str

    @classmethod
    def make(
        cls,
        entrant: MethodConfig,
        measure: Measure,
        records: Sequence[Record],
        results: Sequence[Results],
        plugins: Plugins,
    ) -> Judged:
        """Take a measure from an entrant's records, a seed each, and the results beside them."""
        scores = [one_score(record, measure) for record in records]
        sample = sample_of(scores, results, plugins)
        mean = estimate(sample)
        doubts = dict.fromkeys(flag.meaning for r, s in zip(records, scores, strict=True) for flag in r.flags(s))
        side = Side(
            method=entrant.method,
            params=dict(entrant.params),
            setting=scores[0].setting,
            value=mean.value,
            ci_low=mean.ci_low,
            ci_high=mean.ci_high,
            runs=[record.run_id for record in records],
            doubts=list(doubts),
        )
        return cls(side, sample, scores[0], [record.spec.seed for record in records], mean.basis)


def outcome(comparison: Comparison, first: Judged, second: Judged) -> ComparisonResult:
    """Two sides against what the claim says of them."""
    found = difference(first.sample, second.sample)
    return ComparisonResult(
        first=first.side,
        second=second.side,
        condition=first.score.condition,
        task=first.score.task,
        metric=first.score.metric,
        relation=comparison.relation,
        margin=comparison.margin,
        difference=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        unit=first.score.unit,
        n=min(first.score.n, second.score.n),
        seeds=first.seeds,
        basis=first.basis,
        paired=found.paired,
        verdict=comparison.judge(found.ci_low, found.ci_high),
    )


def one_score(record: Record, measure: Measure) -> Score:
    """The score that a measure means; none or several are a mistake of the claim."""
    scores = [
        score
        for score in record.select(measure.task, measure.metric, **measure.setting)
        if score.condition == measure.condition
    ]
    if len(scores) != 1:
        wanted = f"{measure.condition}, {measure.task}/{measure.metric} {dict(measure.setting)}"
        raise KdbenchError(f"a claim compares one score, found {len(scores)} of {wanted}", "mend the claim's setting")
    return scores[0]


def sample_of(scores: Sequence[Score], results: Sequence[Results], plugins: Plugins) -> Sample:
    """One method's scores, a seed each, with the per-example results behind them where they are there."""
    first = scores[0]
    name = plugins.tasks.get(first.task).results_key(first) if first.task in plugins.tasks else None
    start = f"{first.condition}/"
    behind = [found.get(f"{start}{first.task}/{name}") for found in results]
    indices = [found.get(f"{start}{first.task}/index") for found in results]
    values = [score.value for score in scores]
    sample = None
    if name and all(array is not None for array in behind) and _alike(indices):
        examples = "all" if indices[0] is None else hashlib.sha256(np.asarray(indices[0]).tobytes()).hexdigest()
        if all(array is not None and array.dtype == np.bool_ for array in behind):
            sample = shares(np.stack([np.asarray(array) for array in behind]), examples=examples)
        elif first.metric == "ece":
            sample = _calibration(first, start, behind, results, examples)
    if sample is not None and np.abs(sample.values - values).max() <= ROUNDING:
        return sample
    lows, highs = [score.ci_low for score in scores], [score.ci_high for score in scores]
    return from_intervals(values, lows, highs, n=first.n, fraction=first.unit == "fraction")


def _alike(arrays: Sequence[NDArray[Any] | None]) -> bool:
    """Whether the same test examples are behind all seeds; None is all of them."""
    known = [array for array in arrays if array is not None]
    return not known or (len(known) == len(arrays) and all(np.array_equal(array, known[0]) for array in known))


def _calibration(
    score: Score,
    start: str,
    confidence: Sequence[NDArray[Any] | None],
    results: Sequence[Results],
    examples: str,
) -> Sample | None:
    correct = [next((found[start + name] for name in UNATTACKED if start + name in found), None) for found in results]
    if any(array is None for array in correct):
        return None
    interval = (score.ci_low, score.ci_high) if len(results) == 1 else None
    return calibration_errors(
        np.stack([np.asarray(array) for array in confidence]),
        np.stack([np.asarray(array) for array in correct]),
        bins=int(score.setting["bins"]),
        examples=examples,
        interval=interval,
    )
