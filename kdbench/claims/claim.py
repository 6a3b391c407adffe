"""What papers claim, as data: two methods, one score of each, and which way their difference should go.

A plugin states the claims of its paper (hook ``kdbench_register_claims``) and ``kdbench reproduce --claims`` checks
them. A claim is a hypothesis, not a wish: it is written down before it is measured, and stays when it fails.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kdbench.errors import KdbenchError, unknown_name
from kdbench.results.wording import counted

Relation = Literal["higher", "lower", "not lower", "equal"]
Verdict = Literal["holds", "fails", "not shown", "not measured"]
COUNTED: dict[Verdict, tuple[str, str]] = {
    "holds": ("holds", "hold"), "fails": ("fails", "fail"), "not shown": ("open", "open"),
    "not measured": ("not measured", "not measured"),
}  # fmt: skip
"""How one comparison and several with a verdict are counted, in words."""
SEEDS = (0, 1, 2)
"""A claim is checked with these unless others are named: one seed says nothing of the next."""
WORDS: dict[Relation, str] = {
    "higher": "higher than", "lower": "lower than", "not lower": "not lower than", "equal": "equal to"
}  # fmt: skip
EXACT, TOLERANT = ("higher", "lower"), ("not lower", "equal")
"""Relations without and with a margin."""


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """A method with some of its parameters; the others are at the values that a run would give them."""

    method: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        """
        >>> str(MethodConfig("smkd-s", {"eta": 1}))
        'smkd-s (eta 1)'
        """
        given = ", ".join(f"{name} {value}" for name, value in self.params.items())
        return f"{self.method} ({given})" if given else self.method


@dataclasses.dataclass(frozen=True)
class Measure:
    """The one score of a method's record that is compared."""

    condition: str
    task: str
    metric: str
    setting: Mapping[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    """As much of the score's setting as distinguishes it from others."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How the first method's score should lie to the second's.

    ``higher`` and ``lower`` are of the number itself, also where less is better. ``not lower`` and ``equal`` are within
    ``margin``, in the unit of the score: that nothing was found is no evidence of equality.
    """

    first: MethodConfig
    second: MethodConfig
    measure: Measure
    relation: Relation
    margin: float = 0.0
    second_setting: Mapping[str, str | int | float | bool] | None = None
    """Of the second method's score, where it is not that of ``measure``."""

    def __post_init__(self) -> None:
        if self.relation not in (*EXACT, *TOLERANT):
            raise unknown_name("relation", str(self.relation), (*EXACT, *TOLERANT))
        if (self.relation in TOLERANT) != (self.margin > 0) or not math.isfinite(self.margin):
            raise KdbenchError(
                f"relation '{self.relation}' has the margin {self.margin}",
                f"{' and '.join(TOLERANT)} need one above 0, the others have none",
            )

    def __str__(self) -> str:
        what = f"{self.measure.condition} {self.measure.task}/{self.measure.metric} {_values(self.measure.setting)}"
        within = f" within {self.margin:g}" if self.margin else ""
        other = f" {_values(self.second_setting)}" if self.second_setting else ""
        return f"{what.strip()}: {self.first} {WORDS[self.relation]} {self.second}{other}{within}"

    def sides(self) -> tuple[tuple[MethodConfig, Measure], tuple[MethodConfig, Measure]]:
        """Each method with what is measured of it."""
        other = self.measure
        if self.second_setting is not None:
            other = dataclasses.replace(other, setting=self.second_setting)
        return (self.first, self.measure), (self.second, other)

    def judge(self, low: float, high: float) -> Verdict:
        """From the 95 % interval of first minus second: ``holds`` where all of it agrees with the relation, ``fails``
        where none of it does, ``not shown`` otherwise.

        >>> a, b, clean = MethodConfig("a"), MethodConfig("b"), Measure("clean", "clean", "accuracy")
        >>> [Comparison(a, b, clean, "higher").judge(*ends)
        ...  for ends in [(0.01, 0.03), (-0.01, 0.03), (-0.03, -0.01)]]
        ['holds', 'not shown', 'fails']
        """
        return judge(self.ends(), low, high)

    def ends(self) -> tuple[float, float]:
        """Between which differences, first minus second, the relation is true."""
        return ends(self.relation, self.margin)


def ends(relation: Relation, margin: float = 0.0) -> tuple[float, float]:
    """Between which differences, first minus second, a relation is true."""
    lowest = {"higher": 0.0, "lower": -math.inf}.get(relation, -margin)
    return lowest, {"lower": 0.0, "equal": margin}.get(relation, math.inf)


def judge(true: tuple[float, float], low: float, high: float) -> Verdict:
    """The verdict on a relation that is true between two ends, from the 95 % interval of the difference."""
    lowest, highest = true
    if lowest < low and high < highest:
        return "holds"
    return "fails" if high < lowest or highest < low else "not shown"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper and the comparisons that it stands and falls with, each with a verdict of its own."""

    name: str
    paper: str
    sentence: str
    """What is claimed, and what is different here from how the paper measured it."""
    comparisons: Sequence[Comparison]
    suite: str = "cifar10-lite"
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Settings of tasks that differ from the suite's, by task."""

    def __post_init__(self) -> None:
        if not self.comparisons:
            raise KdbenchError(f"claim '{self.name}' compares nothing", "give it at least one comparison")

    def configs(self) -> list[MethodConfig]:
        """Everybody who is measured, each once."""
        found: list[MethodConfig] = []
        for config, _ in self._sides():
            if config not in found:
                found.append(config)
        return found

    def measures(self, config: MethodConfig) -> list[Measure]:
        """What is measured of one method."""
        return [measure for other, measure in self._sides() if other == config]

    def _sides(self) -> Iterator[tuple[MethodConfig, Measure]]:
        for comparison in self.comparisons:
            yield from comparison.sides()


def _values(setting: Mapping[str, Any]) -> str:
    return " ".join(map(str, setting.values()))


def tally(counts: Mapping[Verdict, int]) -> str:
    """How many of a claim's comparisons hold, fail or are open: whoever shows the claim's verdict shows this beside it.

    >>> tally({"holds": 2, "fails": 1}), tally({"not shown": 1})
    ('of 3 comparisons 2 hold, 1 fails', 'of 1 comparison 1 open')
    """
    total = sum(counts.values())
    parts = [f"{counts[one]} {COUNTED[one][counts[one] != 1]}" for one in COUNTED if counts.get(one)]
    return f"of {counted(total, 'comparison')} {', '.join(parts)}"


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """A claim holds when all of its comparisons do, which needs no correction for their number, and fails with one.

    Beside it stands how many do what (``tally``).

    >>> combined(["holds", "not shown"])
    'not shown'
    """
    for verdict in ("not measured", "fails", "not shown"):
        if verdict in verdicts:
            return verdict
    return "holds"
