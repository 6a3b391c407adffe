"""What a leaderboard is, as data: the ranking makes it, pages and exports show it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdbench.results.comparison import Sample
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.families import OTHER
from kdbench.results.frame import GIB
from kdbench.results.headline import RANKED_SEEDS
from kdbench.results.record import EvaluatedModel, Score
from kdbench.results.wording import counted

Mark = Literal["best", "near", "unknown", ""]
"""What a cell is beside the best of its axis; see ``kdbench.leaderboard.marks``."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A column of a leaderboard: one score of one task under one condition."""

    key: str
    """``<condition>/<task>``, unique within a board."""
    title: str
    """Short heading: "clean", "OOD", "PGD-20 ε .031", "mCA", "transfer", "ECE", "noisy sym-40", ..."""
    condition: str
    task: str
    metric: str
    setting: Mapping[str, str | int | float | bool]
    """Picks the one score of the task's metric."""
    unit: str
    higher_is_better: bool
    family: str = OTHER
    """What the task measures, see ``Task.family``; of a task that is read beside another one, that one's."""
    counts: bool = True
    """Whether it counts for the mean rank: the suite plans the task, and it is read by itself. What else a run measured
    is shown alone."""
    caution: str = ""
    """What a reader must know before reading the score as better or worse."""

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: a difference times this is how much better."""
        return 1 if self.higher_is_better else -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One method on one axis, by itself."""

    value: float
    """Mean over seeds."""
    ci_low: float
    ci_high: float
    """95 % interval."""
    basis: str
    """What the interval is over: "seeds and examples", or "examples" with one seed, or "score" without evidence."""
    n: int
    """Test examples of each seed."""
    per_seed: tuple[tuple[int, Score], ...]
    """Seed and its score."""
    sample: Sample = dataclasses.field(repr=False, compare=False)
    """What is compared with other methods."""
    contradicted: bool
    """Whether there are per-example results, and they do not give the scores of all seeds."""
    flags: tuple[str, ...]
    """Why the score is doubtful, a sentence each; () for a score without doubt."""

    evaluated: bool = False
    """Whether it is of a model from elsewhere, which is ranked apart."""

    @property
    def one_seed(self) -> bool:
        """Whether it is of a single seed: its interval is over test images alone, and no test compares it."""
        return len(self.sample.values) == 1

    @property
    def few_seeds(self) -> bool:
        """Whether they are too few for a mean rank."""
        return len(self.sample.values) < RANKED_SEEDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell(Measurement):
    """One method on one axis, among all methods of the board."""

    rank: int
    """1 + the number of methods that are significantly better; those with a flag come after those without, and models
    that were not trained here after all. Methods with few seeds count where others with few are ranked, alone."""
    last_rank: int
    """The number of the same methods less those that are significantly worse: no less than ``rank``. Methods that
    do not differ significantly share the ranks between."""
    mark: Mark = ""

    @property
    def ranks(self) -> str:
        """The rank, or the first and the last with a dash between them."""
        return str(self.rank) if self.rank == self.last_rank else f"{self.rank}\N{EN DASH}{self.last_rank}"

    @property
    def midrank(self) -> float:
        """What counts for the mean rank."""
        return (self.rank + self.last_rank) / 2


@dataclasses.dataclass(frozen=True)
class Row:
    """A method with one setting of its parameters, over its seeds; or a model that was not trained here."""

    key: str
    """Unique within a board, safe as a file name: lower-case letters, digits, hyphens."""
    title: str
    """The method's name, and the parameters that were given."""
    method: str
    params: Mapping[str, Any]
    """As the user gave them."""
    family: str
    """Plugin that brings the method, "" when it is not installed here."""
    paper: str
    """Address of its paper, "" when not known; untrusted text."""
    summary: str
    budget: str
    """``standard`` or ``extended``."""
    runs: tuple[Evidence, ...]
    """By seed, one per seed."""
    failed: tuple[Evidence, ...]
    """Runs that diverged: shown, never averaged."""
    cells: Mapping[str, Cell]
    """Axis key to cell; an axis that was not measured has none."""
    mean_rank: float | None
    """Mean over families of the mean midrank of their axes, see ``kdbench.leaderboard.placing``; None where an axis
    that counts is missing, a run failed or there are fewer than ``RANKED_SEEDS``."""
    views: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Condition to the view that the students saw, see ``Record.views``; untrusted text. Where it is not recorded there
    is none."""

    standing: str = ""
    """Whether somebody trained its records again, in words (``kdbench.leaderboard.standing``); untrusted text."""

    @property
    def evaluated(self) -> EvaluatedModel | None:
        """The model, where it was not trained here."""
        return next((run.record.evaluated for run in (*self.runs, *self.failed)), None)

    @property
    def unranked(self) -> str:
        """Why it has no mean rank, "" where it has one."""
        if self.mean_rank is not None:
            return ""
        if self.evaluated is not None:
            return "evaluated, not trained here"
        if self.failed:
            return "failed runs"
        if len(self.runs) < RANKED_SEEDS:
            return f"{counted(len(self.runs), 'seed')}: unranked"
        return "incomplete"

    @property
    def records(self) -> tuple[Evidence, ...]:
        """The records on disk that it consists of: a run may be the parts that separate jobs left."""
        return tuple(record for run in (*self.runs, *self.failed) for record in run.sources)

    @property
    def training_minutes(self) -> float | None:
        """Wall time of a student's training, on average; None of what was not trained here."""
        seconds = [one.seconds for run in self.runs for one in run.record.hashes.students.values()]
        return None if self.evaluated or not seconds else statistics.mean(seconds) / 60

    @property
    def peak_memory_gib(self) -> float | None:
        """The most of a machine's memory that a run took, in GiB."""
        return _most_gib(run.record.provenance.peak_memory_bytes for run in self.runs)

    @property
    def peak_device_memory_gib(self) -> float | None:
        """The most of an accelerator's memory that a run's tensors took, in GiB; None where it was not counted."""
        return _most_gib(run.record.provenance.peak_device_memory_bytes for run in self.runs)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of its runs: each remark once, with the seeds that it holds for."""
        seeds: dict[str, list[int]] = {}
        for run in (*self.runs, *self.failed):
            for remark in run.remarks:
                seeds.setdefault(remark, []).append(run.record.spec.seed)
        return tuple(f"{remark} (seed {', '.join(map(str, found))})" for remark, found in seeds.items())


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Paired differences on one axis between all rows, in their order: what row i has more than row j."""

    value: NDArray[np.float64]
    """(K, K); NaN where either has no score."""
    half_width: NDArray[np.float64]
    """(K, K): half of the 95 % interval of the difference."""
    p_value: NDArray[np.float64]
    """(K, K), two-sided, not corrected for the number of pairs; NaN where either has one seed: no test."""
    significant: NDArray[np.bool_]
    """(K, K): after Holm's correction over all pairs of the axis."""
    paired: NDArray[np.bool_]
    """(K, K): whether example by example; otherwise from the two scores' own intervals, which is far coarser."""

    def in_order(self, order: Sequence[int]) -> Pairs:
        """The same of rows in another order: row i is what was row ``order[i]``."""
        places = np.ix_(order, order)
        return Pairs(
            self.value[places],
            self.half_width[places],
            self.p_value[places],
            self.significant[places],
            self.paired[places],
        )


def _most_gib(found: Iterable[int | None]) -> float | None:
    most = max((one for one in found if one is not None), default=None)
    return None if most is None else most / GIB


@dataclasses.dataclass(frozen=True)
class Board:
    """The leaderboard of one suite, or of one with the same changes."""

    suite: str
    """Its name, and what was changed of it by hand."""
    key: str
    """Unique among boards, safe as a file name."""
    title: str
    why: str
    version: int
    tasks: Mapping[str, int]
    """Task to the version that is ranked."""
    notes: tuple[str, ...]
    """What a reader must know: which out-of-distribution set, generated or published corruptions, suite not installed,
    one seed only, ..."""
    axes: tuple[Axis, ...]
    rows: tuple[Row, ...]
    """By mean rank; those without one last, by name."""
    pairs: Mapping[str, Pairs]
    """By axis key."""
    excluded: tuple[Excluded, ...]
    reference: str = ""
    """Key of the row that others are held against: the method, without parameters of its own, that also trains the
    suite's networks; "" where it is not among the rows."""
    others: tuple[Board, ...] = ()
    """The boards of other versions of the suite, newest first: each is ranked by itself, and none is compared."""


@dataclasses.dataclass(frozen=True)
class Boards:
    """All that a folder of records holds."""

    boards: tuple[Board, ...]
    excluded: tuple[Excluded, ...]
    """Files that belong to no board: other JSON, broken or newer records, runs of one id that differ."""
