"""A published table or figure as data: its numbers, how each is measured here, and at which scales.

The values that ``kdbench.reproducing.reading`` makes of a file. docs/reproduce.md describes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from kdbench.claims.claim import Relation
from kdbench.errors import KdbenchError, unknown_name
from kdbench.seeds import parse_seeds
from kdbench.specs import Spec

STUDENT: Final = "student"
MAIN: Final = "main"
EPOCH: Final = "epoch"
"""What the numbers of a training log are over."""
Scale = Literal["full", "short", "lite", "smoke"]
SCALES: Final[tuple[Scale, ...]] = ("full", "short", "lite", "smoke")
FULL: Final = "full"
"""The paper's own setting: the only one that is set beside its numbers."""
Kind = Literal["lines", "bars", "histogram", "heatmap"]
Value = float | str


class UseOfCondition(Spec):
    """Which condition of a scale's suite stands for one of the paper."""

    use: str
    """The suite's condition."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What is changed of it by hand, as ``noise.rate``."""


class Instead(Spec):
    """What is measured at a scale in place of what a column says."""

    task: str = ""
    metric: str = ""
    setting: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Adds up with that of the cells, unless it is of another task."""


class Setting(Spec):
    """A scale: the suites, seeds and cut-downs that a reproduction is run with."""

    suite: str = ""
    """Of all cells that name no ``data``."""
    suites: dict[str, str] = Field(default_factory=dict)
    """Suite by the ``data`` of a cell, where the paper has several data sets."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """Of the students, ``"0-4"``."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What is changed of every suite by hand, as ``tasks.pgd.settings.subset``."""
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Method to parameters that go before those of its cells."""
    conditions: dict[str, UseOfCondition] = Field(default_factory=dict)
    """Condition of the cells to what stands for it; without it the suite's condition of that name."""
    instead: dict[str, Instead] = Field(default_factory=dict)
    """Column to what is measured in its place, as an attack's variant that the suite has."""
    rows: tuple[str, ...] | None = None
    """The rows that are measured at this scale, or the lines of families of rows; without it all."""
    columns: tuple[str, ...] | None = None
    """The columns that are measured; without it all."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        return parse_seeds(value) if isinstance(value, str) else [value] if isinstance(value, int) else value

    @field_validator("conditions", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: {"use": use} if isinstance(use, str) else use for name, use in value.items()}

    def suite_of(self, data: str) -> str | None:
        """The suite of a cell's ``data``, None where the scale has none."""
        return self.suites.get(data) or (self.suite if data == MAIN else None) or None

    def measuring(self, cell: Cell) -> Cell:
        """A cell as it is measured at this scale."""
        other = self.instead.get(cell.column)
        if other is None:
            return cell
        changed = {"task": other.task or cell.task, "metric": other.metric or cell.metric}
        kept = {} if other.task else cell.setting
        return cell.model_copy(update={**changed, "setting": {**kept, **other.setting}})

    def condition(self, name: str) -> UseOfCondition:
        """What stands for a condition."""
        return self.conditions.get(name, UseOfCondition(use=name))


class Figure(Spec):
    """The paper's figure."""

    kind: Kind
    """``lines``: values against a number; ``bars``: groups side by side; ``histogram``: steps over bins; ``heatmap``:
    rows by columns."""
    x: str = ""
    """What the horizontal axis shows."""
    y: str = ""
    """What the vertical axis shows."""
    log_x: bool = False
    log_y: bool = False


class Cell(Spec):
    """A number of the table, a point or a curve of the figure: what is measured for it, and what was published."""

    row: str
    column: str
    method: str = ""
    """Who is trained; "" with ``network`` is whatever the suite trains that network with."""
    params: dict[str, Any] = Field(default_factory=dict)
    network: str = STUDENT
    """``student``, or one of the suite's networks: then the row is of the network itself, trained with the suite's own
    method and parameters unless the cell says others."""
    data: str = MAIN
    """Which of a scale's ``suites``."""
    condition: str
    task: str = ""
    metric: str = ""
    setting: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """As much of the score's setting as distinguishes it from others."""
    log: str = ""
    """In place of a task: a number of the student's training log, over epochs."""
    over: str = ""
    """The cell is a curve: one point for each value that this key of the scores' setting takes."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What is changed of the suite by hand for this cell; a scale's own goes before it."""
    published: float | None = None
    curve: dict[str, float] = Field(default_factory=dict)
    """Published points of a curve, by the value of ``over``."""
    tolerance: float | None = None
    """In the unit of ``published``, of a mean over the paper's seeds; a single run gets twice."""
    unit: Literal["percent", "raw"] = "percent"
    """Of ``published``: ``percent`` of a score that is a fraction, or the score's own."""
    incomparable: str = ""
    """Why the published number is no target, though it is shown."""
    remark: str = ""
    """What a reader of the verdict must know, as that the paper kept the best of five."""
    x: Value | None = None
    """Where the number stands in the figure."""
    line: str = ""
    """Which line or colour of the figure it belongs to."""
    panel: str = ""
    """Which panel of the figure."""

    @property
    def factor(self) -> float:
        """From a score to the unit of ``published``."""
        return 100.0 if self.unit == "percent" else 1.0


class Expectation(Spec):
    """What text or figure says of two cells beyond the published numbers."""

    first: tuple[str, str]
    """Row and column."""
    second: tuple[str, str]
    relation: Relation
    """Of the first to the second, as in claims."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """In the unit of ``published``, of ``not lower`` and ``equal``."""
    says: str = ""
    """Where and how the paper says it."""


class Reproduction(Spec):
    """One published table or figure."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]
    paper: str
    title: str
    known: tuple[str, ...] = ()
    """What is known to be wrong, ambiguous or different here, a sentence each."""
    figure: Figure | None = None
    """None: a table."""
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    expectations: tuple[Expectation, ...] = ()
    scales: Annotated[dict[Scale, Setting], Field(min_length=1)]

    @property
    def rows(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(cell.column for cell in self.cells))

    def cell(self, row: str, column: str) -> Cell:
        """The cell there.

        Raises:
            KdbenchError: there is none.
        """
        for cell in self.cells:
            if (cell.row, cell.column) == (row, column):
                return cell
        if row not in self.rows:
            raise unknown_name("row", row, self.rows, f"'{self.id}' has no such")
        if column not in self.columns:
            raise unknown_name("column", column, self.columns, f"'{self.id}' has no such")
        raise KdbenchError(f"'{self.id}' has no number in row '{row}', column '{column}'", "name another")

    def at(self, scale: str) -> Setting:
        """The setting of a scale.

        Raises:
            KdbenchError: no such scale, or the reproduction has it not.
        """
        if scale not in self.scales:
            known = [name for name in SCALES if name in self.scales]
            raise unknown_name(f"scale of '{self.id}'", scale, known)
        return self.scales[scale]

    def measured(self, scale: str) -> list[Cell]:
        """The cells that are measured at a scale, as they are there."""
        setting = self.at(scale)
        return [
            setting.measuring(cell) for cell in self.cells
            if (setting.rows is None or {cell.row, cell.line} & set(setting.rows))
            and (setting.columns is None or cell.column in setting.columns)
            and setting.suite_of(cell.data) is not None
        ]  # fmt: skip
