"""From records to verdicts: each number against the published one at the paper's scale, pairs at every scale."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from kdbench.claims import claim
from kdbench.claims.claim import Relation
from kdbench.leaderboard.board import Measurement
from kdbench.leaderboard.cells import measurement
from kdbench.reproducing.outcome import Direction, Number, Pair, Side, Verdict
from kdbench.reproducing.planning import Job
from kdbench.reproducing.reproduction import EPOCH, FULL, Cell, Expectation, Reproduction, Value
from kdbench.results.comparison import difference
from kdbench.results.evidence import Evidence
from kdbench.results.record import Score
from kdbench.results.samples import per_example
from kdbench.results.wording import describe_setting

DIRECTION: Mapping[claim.Verdict, Direction] = {
    "holds": "same direction", "fails": "opposite", "not shown": "not told apart"
}  # fmt: skip
LOG_TASK = "log"


@dataclasses.dataclass(frozen=True)
class Point:
    """A number with what was measured for it."""

    cell: Cell
    x: Value | None
    published: float | None
    measured: Measurement | None
    why: str = ""
    """It was not measured, or not with all seeds."""
    runs: tuple[str, ...] = ()
    suite: str | None = None
    condition: str = ""
    """The suite's, where it was measured."""
    unjudged: str = ""
    """Why what was measured is no number of the method's: a run failed, and the mean is of those that did not."""

    @property
    def factor(self) -> float:
        """From the score's unit to that of what was published."""
        fraction = self.measured is not None and self.measured.per_seed[0][1].unit == "fraction"
        return self.cell.factor if fraction else 1.0

    @property
    def unit(self) -> str:
        """As it is written behind the number."""
        if self.cell.unit == "percent":
            return "%"
        unit = "" if self.measured is None else self.measured.per_seed[0][1].unit
        return "" if unit == "fraction" else unit

    @property
    def tolerance(self) -> float | None:
        """That of a mean over the paper's seeds, twice for a single run."""
        single = self.measured is not None and self.measured.one_seed
        return self.cell.tolerance and self.cell.tolerance * (2 if single else 1)


def points(
    reproduction: Reproduction, scale: str, jobs: Sequence[Job], runs: Mapping[int, tuple[list[Evidence], list[str]]]
) -> list[Point]:
    """All numbers of a reproduction, in their order; ``runs`` are those of a job, by its place, and why others are left
    out."""
    found: dict[tuple[str, str], list[Point]] = {}
    for place, job in enumerate(jobs):
        found[job.cell.row, job.cell.column] = list(_measured(job, *runs[place]))
    outside = f"not part of scale {scale}"
    return [
        point for cell in reproduction.cells for point in found.get((cell.row, cell.column)) or _without(cell, outside)
    ]


def _measured(job: Job, runs: Sequence[Evidence], left_out: Sequence[str]) -> Iterator[Point]:
    cell = job.cell
    finished = [run for run in runs if run.record.status == "finished"]
    failed = [f"seed {run.record.spec.seed} failed: {run.record.error}" for run in runs if run not in finished]
    by_x: dict[Value | None, list[tuple[Evidence, Score]]] = {}
    problem = ""
    for run in finished:
        for x, scores in _scores(job, run).items():
            if len(scores) == 1:
                by_x.setdefault(x, []).append((run, scores[0]))
            else:
                problem = f"{len(scores)} scores of the record fit, say more of the setting"
    unjudged, left = "; ".join(filter(None, (problem, *failed))), "; ".join(left_out)
    why = "; ".join(filter(None, (unjudged, left)))
    if not by_x:
        yield from _without(cell, why or _missing(cell, finished), job.suite.label)
        return
    for x, scored in by_x.items():
        yield Point(
            cell,
            cell.x if x is None else x,
            _published(cell, x),
            measurement([(run.record, score, per_example(run, score)) for run, score in scored]),
            left,
            tuple(run.record.run_id for run, _ in scored),
            job.suite.label,
            job.condition,
            unjudged,
        )
    for x, published in cell.curve.items():
        if _number(x) not in by_x:
            missing = f"{_missing(cell, finished)} at {cell.over or EPOCH} {x}"
            yield Point(cell, _number(x), published, None, why or missing, (), job.suite.label)


def _missing(cell: Cell, finished: Sequence[Evidence]) -> str:
    what = f"log of '{cell.log}'" if cell.log else f"score of {cell.task}/{cell.metric} with this setting"
    return f"the records have no {what}" if finished else "no finished run"


def _without(cell: Cell, why: str, suite: str | None = None) -> Iterator[Point]:
    """The published numbers of a cell that was not measured."""
    if not cell.curve:
        yield Point(cell, cell.x, cell.published, None, why, (), suite)
    for x, published in cell.curve.items():
        yield Point(cell, _number(x), published, None, why, (), suite)


def _scores(job: Job, run: Evidence) -> dict[Value | None, list[Score]]:
    """The scores of a run that a cell means, by what it is over."""
    cell = job.cell
    if cell.log:
        return {float(one.setting[EPOCH]): [one] for one in _logged(job, run)}
    found: dict[Value | None, list[Score]] = {}
    for score in run.record.select(cell.task, cell.metric, **cell.setting):
        if score.condition == job.condition and (not cell.over or cell.over in score.setting):
            x = score.setting[cell.over] if cell.over else None
            found.setdefault(x if x is None or isinstance(x, str) else float(x), []).append(score)
    return found


def _logged(job: Job, run: Evidence) -> Iterator[Score]:
    """A number of the training log as scores, one an epoch. The log has no interval."""
    for entry in run.log or ():
        value = entry.get(job.cell.log)
        if entry.get("condition") == job.condition and isinstance(value, int | float):
            fraction = job.cell.unit == "percent"
            yield Score(
                task=LOG_TASK, metric=job.cell.log, condition=job.condition, setting={EPOCH: int(entry["epoch"])},
                value=float(value), unit="fraction" if fraction else "", n=1, ci_low=float(value), ci_high=float(value),
            )  # fmt: skip


def _published(cell: Cell, x: Value | None) -> float | None:
    if x is None:
        return cell.published
    return next((value for key, value in cell.curve.items() if _number(key) == x), None)


def _number(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text


def judge(point: Point, scale: str) -> Number:
    """One number against the published one, where that is the same experiment."""
    cell, measured, factor = point.cell, point.measured, point.factor
    value = None if measured is None else factor * measured.value
    comparable = scale == FULL and value is not None and point.published is not None and not _no_target(point)
    difference = value - point.published if comparable and value is not None and point.published is not None else None
    verdict: Verdict
    if measured is None:
        verdict, why = "not measured", point.why
    elif difference is not None:
        assert point.tolerance is not None  # a published number has one
        # Rounded far below any tolerance: 92.57 - 92.27 is .3 and no hair more.
        verdict = "within tolerance" if round(abs(difference), 9) <= point.tolerance else "outside"
        why = "; ".join(filter(None, (_doubt(point, verdict), cell.remark, point.why)))
    else:
        verdict, why = "not comparable", "; ".join(filter(None, (_why_not(point, scale), point.why)))
    known = measured is not None and (cell.log == "" or not measured.one_seed)
    return Number(
        row=cell.row, column=cell.column, x=point.x, line=cell.line, panel=cell.panel, what=_what(point),
        unit=point.unit, published=point.published, tolerance=point.tolerance, value=value,
        ci_low=factor * measured.ci_low if measured and known else None,
        ci_high=factor * measured.ci_high if measured and known else None,
        basis=measured.basis if measured and known else None,
        n=measured.n if measured and not cell.log else None,
        seeds=[seed for seed, _ in measured.per_seed] if measured else [], runs=list(point.runs), suite=point.suite,
        difference=difference, verdict=verdict, why=why, doubts=list(measured.flags) if measured else [],
    )  # fmt: skip


def _doubt(point: Point, verdict: Verdict) -> str:
    """Of a number outside the tolerance, which holds for all test images: fewer may not tell."""
    measured, published, tolerance = point.measured, point.published, point.tolerance
    assert measured is not None and published is not None and tolerance is not None
    low, high = point.factor * measured.ci_low - published, point.factor * measured.ci_high - published
    reaches = verdict == "outside" and not point.cell.log and low <= tolerance and high >= -tolerance
    return "the interval reaches into the tolerance" if reaches else ""


def _no_target(point: Point) -> str:
    """Why a measured number is not held against the published one, nor against another."""
    return point.unjudged or point.cell.incomparable


def _why_not(point: Point, scale: str) -> str:
    if _no_target(point):
        return _no_target(point)
    return "nothing published" if point.published is None else f"scale {scale} is another experiment"


def _what(point: Point) -> str:
    cell, under = point.cell, point.condition or point.cell.condition
    under = under if under == cell.condition else f"{under} in place of {cell.condition}"
    if cell.log:
        return f"{under}, training log: {cell.log}"
    return f"{under}, {cell.task}/{cell.metric} {describe_setting(cell.setting)}".rstrip()


def pairs(reproduction: Reproduction, found: Sequence[Point]) -> list[Pair]:
    """Every two measured numbers of a column whose published difference exceeds the tolerance, and what is expected
    beyond the published numbers."""
    return [*_by_numbers(found), *_by_words(reproduction.expectations, found)]


def _by_numbers(found: Sequence[Point]) -> Iterator[Pair]:
    groups: dict[tuple[str, str, str, Value | None], list[Point]] = {}
    for point in found:
        usable = point.measured is not None and point.published is not None and not _no_target(point)
        if usable:
            over = point.x if point.cell.over or point.cell.log else None
            groups.setdefault((point.cell.column, point.cell.data, point.cell.unit, over), []).append(point)
    for (_, _, _, over), same in groups.items():
        for first, second in itertools.combinations(same, 2):
            assert first.published is not None and second.published is not None
            published = first.published - second.published
            tolerance = max(point.cell.tolerance or 0.0 for point in (first, second))
            if abs(published) > tolerance:
                relation: Relation = "higher" if published > 0 else "lower"
                yield _pair(first, second, relation, 0.0, "", published, over)


def _by_words(expectations: Sequence[Expectation], found: Sequence[Point]) -> Iterator[Pair]:
    by_place = {(point.cell.row, point.cell.column): point for point in found}
    for one in expectations:
        first, second = by_place[one.first], by_place[one.second]
        whole = not first.unjudged and not second.unjudged
        if first.measured is not None and second.measured is not None and whole:
            numbers = (first.published, second.published)
            published = None if None in numbers else numbers[0] - numbers[1]  # type: ignore[operator]  # not None
            yield _pair(first, second, one.relation, one.margin, one.says or "expected", published, None)


def _pair(
    first: Point,
    second: Point,
    relation: Relation,
    margin: float,
    says: str,
    published: float | None,
    over: Value | None,
) -> Pair:
    """``margin`` is in the unit of what was published."""
    assert first.measured is not None and second.measured is not None
    found, factor = difference(first.measured.sample, second.measured.sample), first.factor
    return Pair(
        first=Side(row=first.cell.row, column=first.cell.column),
        second=Side(row=second.cell.row, column=second.cell.column),
        x=over,
        says=says,
        relation=relation,
        published=published,
        difference=factor * found.value,
        ci_low=factor * found.ci_low,
        ci_high=factor * found.ci_high,
        unit=first.unit,
        paired=found.paired,
        verdict=DIRECTION[claim.judge(claim.ends(relation, margin / factor), found.ci_low, found.ci_high)],
    )
