"""From a file ``<paper>/<item>.toml`` to a ``Reproduction``: rows by columns multiplied out, and every key checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from kdbench.claims.claim import EXACT
from kdbench.errors import KdbenchError, unknown_name
from kdbench.reproducing.reproduction import (
    EPOCH,
    MAIN,
    SCALES,
    STUDENT,
    Cell,
    Expectation,
    Figure,
    Reproduction,
    Setting,
)
from kdbench.specs import Spec, first_problem

HINT: Final = "docs/reproduce.md describes the file"
ABSENT: Final = "-"
"""In place of a published number: the table has no such cell."""
TOP: Final = ("paper", "title", "known", "figure", "cell", "columns", "rows", "cells", "expectations", "scales")
SHARED: Final = tuple(key for key in Cell.model_fields if key not in ("row", "column", "curve", "published"))
"""Keys that ``[cell]``, a column, a row and a single cell may have; the later goes before the earlier."""
MERGED: Final = ("params", "setting", "set")
"""Of these, tables that add up."""
KEYS: Final[Mapping[str, Sequence[str]]] = {
    "cell": SHARED,
    "columns": SHARED,
    "rows": (*SHARED, "each", "published"),
    "cells": (*SHARED, "row", "column", "published"),
}

Kind = TypeVar("Kind", bound=Spec)
Table = Mapping[str, Any]


def read_reproduction(path: Path) -> Reproduction:
    """Read and check one file. Its id is its folder's name and its own: ``arani/fig4.toml`` is ``arani/fig4``.

    Raises:
        KdbenchError: whatever is wrong with it, in one line that names file and place.
    """
    where = f"reproduction {path}"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KdbenchError(f"cannot read {where}: {error.strerror}", "name a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KdbenchError(f"{where} is not TOML: {error}", "fix the line it names") from None
    return reproduction_of(raw, identity(path), where)


def identity(path: Path) -> str:
    """What a file's reproduction is called.

    >>> identity(Path("somewhere/arani/fig4.toml"))
    'arani/fig4'
    """
    return f"{path.parent.name}/{path.stem}"


def reproduction_of(raw: Table, name: str, where: str) -> Reproduction:
    """The reproduction that the values of a file describe; every message begins with ``where``."""
    _check_keys(raw, TOP, where)
    for table in ("figure", "cell", "columns", "rows", "scales"):
        _table(raw.get(table, {}), f"{where}: {table}")
    cells = tuple(_cells(raw, where))
    scales = {}
    for scale, values in raw.get("scales", {}).items():
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES, f"in {where}")
        scales[scale] = _value(Setting, _table(values, f"{where}: scales.{scale}"), f"{where}: scales.{scale}")
    found = _value(
        Reproduction,
        {
            **{key: raw[key] for key in ("paper", "title", "known") if key in raw},
            "id": name,
            "figure": _value(Figure, raw["figure"], f"{where}: figure") if "figure" in raw else None,
            "cells": cells,
            "expectations": tuple(
                _value(Expectation, _table(one, f"{where}: expectations"), f"{where}: expectation {number}")
                for number, one in enumerate(raw.get("expectations", ()), 1)
            ),
            "scales": scales,
        },
        where,
    )
    _check_whole(found, where)
    return found


def _cells(raw: Table, where: str) -> Iterator[Cell]:
    base = _part("cell", raw.get("cell", {}), f"{where}: cell")
    columns = {
        name: _part("columns", values, f"{where}: columns.{name}") for name, values in raw.get("columns", {}).items()
    }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for family, values in raw.get("rows", {}).items():
        place = f"rows.{family}"
        for row, own, numbers in _rows(family, _part("rows", values, f"{where}: {place}"), list(columns), where, place):
            for column, of_column in columns.items():
                if numbers.get(column) != ABSENT:
                    merged = _merged(base, of_column, own)
                    found[row, column] = {**merged, **_number(numbers, column)}
    for number, values in enumerate(raw.get("cells", ()), 1):
        own = _part("cells", values, f"{where}: cell {number}")
        try:
            at = own.pop("row"), own.pop("column")
        except KeyError as error:
            raise KdbenchError(f"{where}: cell {number} has no {error.args[0]}", HINT) from None
        numbers = {at[1]: own.pop("published")} if "published" in own else {}
        merged = _merged(found.get(at) or _merged(base, columns.get(at[1], {})), own)
        found[at] = {**merged, **_number(numbers, at[1])}
    for (row, column), values in found.items():
        place = f"{where}: row '{row}', column '{column}'"
        cell = _value(Cell, {"line": row, "panel": column, **values, "row": row, "column": column}, place)
        _check_cell(cell, place)
        yield cell


def _rows(
    family: str, values: Table, columns: list[str], where: str, place: str
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, keys and published numbers by column of each row that a table stands for: one, or one ``each`` value."""
    own = {key: value for key, value in values.items() if key not in ("each", "published")}
    published = values.get("published", {})
    if "each" not in values:
        if isinstance(published, list):
            if len(published) != len(columns):
                raise KdbenchError(
                    f"{where}: {place}.published has {len(published)} numbers, expected one of each of the "
                    f"{len(columns)} columns", f"write '{ABSENT}' where the table has no cell"
                )  # fmt: skip
            published = dict(zip(columns, published, strict=True))
        _known_columns(published, columns, where, f"{place}.published")
        yield family, own, dict(published)
        return
    each = _table(values["each"], f"{where}: {place}.each")
    if len(each) != 1 or not isinstance(steps := next(iter(each.values())), list) or not steps:
        raise KdbenchError(f"{where}: {place}.each is {dict(each)}", "write one parameter and a list of values")
    _known_columns(published, columns, where, f"{place}.published")
    by_column = {
        column: _by_step(numbers, steps, f"{where}: {place}.published.{column}")
        for column, numbers in published.items()
    }
    parameter = next(iter(each))
    for step in steps:
        more = {"params": {**own.get("params", {}), parameter: step}, "x": own.get("x", step)}
        numbers = {column: found[str(step)] for column, found in by_column.items() if str(step) in found}
        yield f"{family} {step}", {"line": family, **own, **more}, numbers


def _by_step(numbers: Any, steps: list[Any], place: str) -> dict[str, Any]:
    """Published numbers of a family by value: a table, or a list with one for each."""
    if isinstance(numbers, list) and len(numbers) == len(steps):
        return {str(step): number for step, number in zip(steps, numbers, strict=True)}
    if not isinstance(numbers, Mapping):
        raise KdbenchError(f"{place} is {numbers!r}", "write a table by value, or a list with one number for each")
    known = [str(step) for step in steps]
    for key in numbers:
        if key not in known:
            raise unknown_name(f"value of {place}", key, known)
    return dict(numbers)


def _known_columns(published: Any, columns: list[str], where: str, place: str) -> None:
    for column in _table(published, f"{where}: {place}"):
        if column not in columns:
            raise unknown_name("column", column, columns, f"in {where}: {place}")


def _number(numbers: Table, column: str) -> dict[str, Any]:
    """The published number of a cell, or the points of a curve."""
    if column not in numbers:
        return {}
    key = "curve" if isinstance(numbers[column], Mapping) else "published"
    return {key: numbers[column]}


def _merged(*parts: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            both = key in MERGED and isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = {**found[key], **value} if both else value
    return found


def _part(table: str, values: Any, place: str) -> dict[str, Any]:
    """A table of cells' keys, checked."""
    _check_keys(_table(values, place), KEYS[table], place)
    return dict(values)


def _table(values: Any, what: str) -> Table:
    if not isinstance(values, Mapping):
        raise KdbenchError(f"{what} is {values!r}, expected a table", HINT)
    return values


def _check_keys(values: Table, known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise unknown_name("key", key, known, f"in {where}")


def _value(kind: type[Kind], values: Table, place: str) -> Kind:
    _check_keys(values, list(kind.model_fields), place)
    try:
        return kind.model_validate(dict(values))
    except KdbenchError as error:
        raise KdbenchError(f"{place}: {error.message}", error.hint) from None
    except ValidationError as error:
        raise KdbenchError(f"{place}: {first_problem(error)}", HINT) from None


def _check_cell(cell: Cell, place: str) -> None:
    """What one cell says must go together."""
    problem = ""
    if not cell.method and cell.network == STUDENT:
        problem = "names no method"
    elif bool(cell.log) == bool(cell.task or cell.metric):
        problem = "names a log and a task" if cell.log else "names neither a task nor a log"
    elif not cell.log and not (cell.task and cell.metric):
        problem = f"names {'no metric' if cell.task else 'no task'}"
    elif cell.log and cell.over not in ("", EPOCH):
        problem = f"is over '{cell.over}', expected '{EPOCH}' of a training log"
    elif cell.curve and not (cell.over or cell.log):
        problem = "has published points, and is over nothing"
    elif (cell.over or cell.log) and cell.published is not None:
        problem = "is a curve with a single published number, expected a table of points"
    elif cell.over in cell.setting:
        problem = f"is over '{cell.over}', which its setting fixes"
    elif (cell.published is not None or cell.curve) and cell.tolerance is None and not cell.incomparable:
        problem = "has a published number and no tolerance"
    elif cell.tolerance is not None and cell.tolerance <= 0:
        problem = f"has the tolerance {cell.tolerance:g}, expected one above 0"
    if problem:
        raise KdbenchError(f"{place} {problem}", HINT)


def _check_whole(found: Reproduction, where: str) -> None:
    """What its parts say of one another."""
    for scale, setting in found.scales.items():
        place = f"in {where}: scales.{scale}"
        if not setting.suite and not setting.suites:
            raise KdbenchError(f"{where}: scales.{scale} names no suite", 'write suite = "digits"')
        lines = {cell.line for cell in found.cells}
        for kind, names, known in (
            ("row", setting.rows, {*found.rows, *lines}),
            ("column", setting.columns, set(found.columns)),
            ("data", tuple(setting.suites), {cell.data for cell in found.cells} | {MAIN}),
            ("column", tuple(setting.instead), set(found.columns)),
            ("condition", tuple(setting.conditions), {cell.condition for cell in found.cells}),
        ):
            for name in names or ():
                if name not in known:
                    raise unknown_name(kind, name, known, place)
        if not found.measured(scale):
            raise KdbenchError(f"{where}: scales.{scale} measures no cell", "name other rows, columns or suites")
    for expectation in found.expectations:
        try:
            cells = [found.cell(*side) for side in (expectation.first, expectation.second)]
        except KdbenchError as error:
            raise KdbenchError(f"{where}: expectations: {error.message}", error.hint) from None
        if any(cell.over or cell.log for cell in cells):
            raise KdbenchError(f"{where}: an expectation compares two numbers, found a curve", HINT)
        if (expectation.relation in EXACT) == (expectation.margin > 0):
            raise KdbenchError(
                f"{where}: relation '{expectation.relation}' has the margin {expectation.margin:g}",
                "'not lower' and 'equal' need one above 0, the others have none",
            )
