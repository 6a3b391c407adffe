"""What became of a claim: each comparison with its interval, and the file that keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kdbench.claims.claim import WORDS, MethodConfig, Relation, Verdict
from kdbench.files import write_atomically
from kdbench.results.record import Provenance, Strict, read_strict
from kdbench.results.wording import FLAG, describe_setting


class Side(Strict):
    """One of the two in a comparison."""

    method: str
    params: dict[str, Any]
    """As the claim gives them."""
    setting: dict[str, str | int | float | bool]
    """Of the score."""
    value: float
    """Mean over seeds."""
    ci_low: float
    ci_high: float
    """95 % interval."""
    runs: list[str]
    """Run ids, by seed."""
    doubts: list[str]
    """What failed checks say against the score."""

    def name(self, known: Mapping[str, Any]) -> str:
        """Method, parameters, and what of the setting is not ``known`` already."""
        rest = describe_setting({key: value for key, value in self.setting.items() if key not in known})
        return " ".join(filter(None, (str(MethodConfig(self.method, self.params)), rest)))


class SeedsNeeded(Strict):
    """What it would take to decide a comparison that is open, were its difference what it is so far.

    Of each method, by a test at 5 % that finds the difference 8 times in 10 (``kdbench.results.planning``); None where
    10,000 seeds do not suffice.
    """

    distance: float
    """From the difference to the nearest end of what is claimed."""
    seeds: int | None
    fewest: int | None
    """``seeds`` at the lower end of the 95 % interval of the spread over seeds, which few seeds hardly show."""
    most: int | None
    """``seeds`` at its upper end."""
    least: float
    """The smallest distance that any number of seeds shows on so many test images."""


class ComparisonResult(Strict):
    """One comparison, measured."""

    first: Side
    second: Side
    condition: str
    task: str
    metric: str
    relation: Relation
    """What the claim says of the first against the second."""
    margin: float
    difference: float
    """First minus second, in ``unit``."""
    ci_low: float
    ci_high: float
    """95 % interval of the difference."""
    unit: str
    n: int
    """Test examples of each seed."""
    seeds: list[int]
    basis: str
    """What the intervals are over."""
    paired: bool
    """Whether both were compared example by example."""
    unequal: list[str] = Field(default=[])
    """What differs between the two beside the method, in words: views, epochs, which network is measured."""
    verdict: Verdict
    needed: SeedsNeeded | None = None
    """Where it is not shown, and several seeds show a spread."""

    def text(self) -> str:
        """What is compared, in a line."""
        words = WORDS[self.relation] + (f" (within {self._number(self.margin).lstrip('+')})" if self.margin else "")
        shared = {key: value for key, value in self.first.setting.items() if self.second.setting.get(key) == value}
        what = " ".join(filter(None, (f"{self.task}/{self.metric}", describe_setting(shared))))
        return f"{self.condition}, {what}: {self.first.name(shared)} {words} {self.second.name(shared)}"

    def numbers(self) -> tuple[str, str]:
        """The difference and its interval; of fractions in percentage points."""
        low, high = self._number(self.ci_low), self._number(self.ci_high)
        doubtful = f" {FLAG}" if self.first.doubts or self.second.doubts else ""
        return f"{self._number(self.difference)}{doubtful}", f"{low} to {high}"

    def outlook(self) -> str:
        """What would decide a comparison that is open, in a sentence; "" for one that is decided."""
        if self.verdict != "not shown":
            return ""
        if self.needed is None:
            return "One seed shows no spread, so that nobody knows how many would decide it: measure a second."
        if self.needed.seeds is None:
            least = self._number(self.needed.least).lstrip("+")
            return f"No number of seeds decides it on {self.n:,} test images: {least} is the least that they show."
        low, high = (str(count or "never") for count in (self.needed.fewest, self.needed.most))
        return (
            f"{self.needed.seeds} seeds of each would decide it, if the difference is what it is so far ({low} to "
            f"{high}, as {len(self.seeds)} seeds hardly show the spread)."
        )

    def _number(self, value: float) -> str:
        return f"{100 * value:+.2f}" if self.unit == "fraction" else f"{value:+.4g} {self.unit}"


class Finding(Strict):
    """What became of one claim."""

    claim: str
    paper: str
    sentence: str
    suite: str
    suite_version: int | None = None
    """None where it was not measured."""
    verdict: Verdict
    reason: str | None = None
    """Why it was not measured, or not all of it."""
    hardware: list[str]
    """Where its runs were measured."""
    outcomes: list[ComparisonResult]
    """Of the comparisons that were measured."""
    counts: dict[Verdict, int]
    """How many of the claim's comparisons have which verdict."""
    provenance: Provenance
    """What checked it, and when."""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """Files of before have no counts: what was measured is counted."""
        if isinstance(values, dict) and "counts" not in values and isinstance(values.get("outcomes"), list):
            verdicts = [one.get("verdict") for one in values["outcomes"] if isinstance(one, dict)]
            return {**values, "counts": dict(Counter(verdicts))}
        return values


class ClaimsReport(Strict):
    """What was found of the claims, by their names: the content of ``claims.json``."""

    schema_version: Literal[2] = 2
    findings: list[Finding]

    def write(self, path: Path) -> None:
        """Write it in one piece."""
        write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())


def read_report(path: Path) -> ClaimsReport:
    """Read and validate a ``claims.json``."""
    return read_strict(
        ClaimsReport, path, "claims", hint="move it away and check its claims again", name="a claims.json"
    )
