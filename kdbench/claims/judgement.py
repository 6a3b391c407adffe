"""One side of a comparison and the other: from records and the results beside them to a paired difference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from kdbench.claims.claim import Comparison, Measure, MethodConfig
from kdbench.claims.findings import ComparisonResult, SeedsNeeded, Side
from kdbench.errors import KdbenchError
from kdbench.results.comparison import Sample, difference, estimate
from kdbench.results.evidence import Evidence
from kdbench.results.planning import least_difference, seeds_needed, spread
from kdbench.results.record import Record, Score
from kdbench.results.samples import per_example, sample


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
        config: MethodConfig,
        measure: Measure,
        runs: Sequence[Evidence],
    ) -> Judged:
        """Take a measure from a method's runs, one per seed."""
        records = [run.record for run in runs]
        scores = [one_score(record, measure) for record in records]
        one, _ = sample(scores, [per_example(run, score) for run, score in zip(runs, scores, strict=True)])
        mean = estimate(one)
        doubts = dict.fromkeys(flag.meaning for r, s in zip(records, scores, strict=True) for flag in r.flags(s))
        side = Side(
            method=config.method,
            params=dict(config.params),
            setting=scores[0].setting,
            value=mean.value,
            ci_low=mean.ci_low,
            ci_high=mean.ci_high,
            runs=[record.run_id for record in records],
            doubts=list(doubts),
        )
        return cls(side, one, scores[0], [record.spec.seed for record in records], mean.basis)


def outcome(comparison: Comparison, first: Judged, second: Judged, unequal: Sequence[str] = ()) -> ComparisonResult:
    """Two sides against what the claim says of them; ``unequal`` is what differs beside the methods."""
    found = difference(first.sample, second.sample)
    verdict = comparison.judge(found.ci_low, found.ci_high)
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
        unequal=list(unequal),
        verdict=verdict,
        needed=needed(comparison, found.value, first.sample, second.sample) if verdict == "not shown" else None,
    )


def needed(comparison: Comparison, gap: float, first: Sample, second: Sample) -> SeedsNeeded | None:
    """How many seeds would decide a comparison whose difference is ``gap``, with seeds taken as independent, as its
    interval takes them; None with one seed, which shows no spread."""
    if min(len(first.values), len(second.values)) < 2:
        return None
    distance = min(abs(gap - end) for end in comparison.ends() if math.isfinite(end))
    known = spread(first, second, by_seed=False)
    counts = [seeds_needed(distance, one) for one in (known, *map(known.at, known.sd_interval))]
    return SeedsNeeded(
        distance=distance, seeds=counts[0], fewest=counts[1], most=counts[2], least=least_difference(known)
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
        raise KdbenchError(f"a claim compares one score, found {len(scores)} of {wanted}", "fix the claim's setting")
    return scores[0]
