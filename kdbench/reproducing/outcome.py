"""What came of a reproduction: the content of ``reproduction.json``, strict and versioned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from kdbench.files import write_atomically
from kdbench.reproducing.reproduction import FULL, Scale
from kdbench.results.record import Provenance, Strict, read_strict

FILE: Final = "reproduction.json"
Verdict = Literal["within tolerance", "outside", "not comparable", "not measured"]
Direction = Literal["same direction", "opposite", "not told apart"]
VERDICTS: Final[tuple[Verdict, ...]] = ("within tolerance", "outside", "not comparable", "not measured")
DIRECTIONS: Final[tuple[Direction, ...]] = ("same direction", "opposite", "not told apart")


class Number(Strict):
    """One number of the table, or a point of a curve: published, measured, and the verdict. Values are in ``unit``."""

    row: str
    column: str
    x: float | str | None
    """Where it stands in the figure; of a curve the value that it is over."""
    line: str
    panel: str
    what: str
    """What is measured, in words: condition, task, metric, setting."""
    unit: str
    """``%``, or the score's own."""
    published: float | None
    tolerance: float | None
    """As it counts here: twice the file's for a single run."""
    value: float | None
    """Mean over seeds; None where it was not measured."""
    ci_low: float | None
    ci_high: float | None
    """95 % interval; None where nothing is known of it."""
    basis: str | None
    """What the interval is over."""
    n: int | None
    """Test examples of each seed."""
    seeds: list[int]
    runs: list[str]
    """Run ids, by seed."""
    suite: str | None
    """Label, with what was changed by hand."""
    difference: float | None
    """Measured minus published; None at another scale than ``full``, which is another experiment."""
    verdict: Verdict
    why: str
    """Of a verdict that is no comparison; of another what its reader must know."""
    doubts: list[str]
    """What failed checks say against the score."""


class Side(Strict):
    """One of two numbers."""

    row: str
    column: str


class Pair(Strict):
    """Two numbers against each other: which is higher as published, and as measured. Values are in ``unit``."""

    first: Side
    second: Side
    x: float | str | None
    """Of points of curves."""
    says: str
    """Where the paper says it, of an expectation; "": by the published numbers."""
    relation: str
    """Of the first to the second: ``higher``, ``lower``, ``not lower``, ``equal``."""
    published: float | None
    """First minus second."""
    difference: float
    """The same as measured."""
    ci_low: float
    ci_high: float
    """95 % interval of the difference."""
    unit: str
    paired: bool
    """Whether both were compared example by example."""
    verdict: Direction


class SuiteUsed(Strict):
    """A suite that was measured on."""

    label: str
    version: int


class Outcome(Strict):
    """A reproduction at a scale, measured."""

    schema_version: Literal[1] = 1
    id: str
    paper: str
    title: str
    known: list[str]
    scale: Scale
    suites: list[SuiteUsed]
    seeds: list[int]
    """That were asked for."""
    numbers: list[Number]
    pairs: list[Pair]
    hardware: list[str]
    """Where its runs were measured."""
    provenance: Provenance
    """What judged it, and when."""

    def count(self, verdict: Verdict) -> int:
        """Numbers with a verdict."""
        return Counter(number.verdict for number in self.numbers)[verdict]

    def unmeasured(self) -> Counter[str]:
        """Why numbers were not measured, the commonest first."""
        return Counter(number.why for number in self.numbers if number.value is None)

    def directions(self) -> Counter[Direction]:
        """Pairs by what came of them."""
        return Counter(pair.verdict for pair in self.pairs)

    def summary(self) -> list[str]:
        """In sentences: at ``full`` the numbers, and at every scale the pairs."""
        lines = []
        if self.scale == FULL:
            lines.append(f"{_counted((one, self.count(one)) for one in VERDICTS)} of {len(self.numbers)} numbers")
        else:
            measured = sum(number.value is not None for number in self.numbers)
            lines.append(
                f"scale {self.scale} is another experiment than the published one: {measured} of {len(self.numbers)} "
                "numbers measured, none set beside a published one; judged on direction and order"
            )
        found = self.directions()
        if self.pairs:
            lines.append(f"{_counted((one, found[one]) for one in DIRECTIONS)} of {len(self.pairs)} pairs")
        else:
            lines.append("no pair of measured numbers has a published difference beyond its tolerance")
        return lines


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts if count) or "none"


def write_outcome(outcome: Outcome, folder: Path) -> Path:
    """Write ``reproduction.json``, in one piece."""
    path = folder / FILE
    write_atomically(path, (outcome.model_dump_json(indent=1) + "\n").encode())
    return path


def read_outcome(path: Path) -> Outcome:
    """Read and validate a ``reproduction.json``."""
    return read_strict(Outcome, path, "reproduction", hint="run `kdbench reproduce` again", name="a reproduction.json")
