"""Scores of a study against one of its parameters: a line per method and setting of the other parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from kdbench.comparing.contestants import Contestant
from kdbench.comparing.pairs import Scores
from kdbench.errors import KdbenchError, unknown_name
from kdbench.leaderboard.axes import Column
from kdbench.leaderboard.board import Axis, Measurement
from kdbench.results.wording import counted
from kdbench.suites.changes import is_of_suite, value_of

Value = float | str
"""Of a parameter: a number, or a name."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One method with one setting of all other parameters."""

    title: str
    points: tuple[tuple[Value | None, Measurement], ...]
    """Value of the parameter and score, ascending; a single one with None for a method without that parameter."""

    @property
    def flat(self) -> bool:
        """Whether the method has no such parameter."""
        return self.points[0][0] is None


@dataclasses.dataclass(frozen=True)
class Panel:
    """One score under one condition."""

    axis: Axis
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """All panels, and what they share."""

    x: str
    """The parameter."""
    panels: tuple[Panel, ...]

    @property
    def values(self) -> list[Value]:
        """Of the parameter, ascending; in the order in which they are found where any is a name."""
        found = list(dict.fromkeys(x for p in self.panels for line in p.lines for x, _ in line.points if x is not None))
        return found if any(isinstance(x, str) for x in found) else sorted(found)

    @property
    def titles(self) -> list[str]:
        """Of all lines, each once; those of methods without the parameter last."""
        every = dict.fromkeys(line.title for panel in self.panels for line in panel.lines)
        return sorted(every, key=lambda title: title in self.flat)

    @property
    def flat(self) -> frozenset[str]:
        """Titles of lines that are level."""
        return frozenset(line.title for panel in self.panels for line in panel.lines if line.flat)


def make_series(contestants: Sequence[Contestant], columns: Sequence[Column], x: str) -> Series:
    """The scores against a parameter; a panel for each column that any of them has.

    Args:
        x: a parameter as it was resolved, so that a default counts; ``method.name`` is that method's alone; or a value
            of the suite, as ``recipe.lr``.

    Raises:
        KdbenchError: no method has this parameter, or it has one value only.
    """
    method, _, name = ("", "", x) if is_of_suite(x) else x.rpartition(".")
    if not is_of_suite(x):
        _check(contestants, method, name)
    scores = [Scores(one, columns) for one in contestants]
    panels = [_panel(column.axis, scores, method, name) for column in columns]
    series = Series(name, tuple(panel for panel in panels if panel.lines))
    if not series.panels:
        raise KdbenchError("no run has a score that was asked for", "choose others with --y or --condition")
    if len(series.values) < 2:
        raise KdbenchError(
            f"'{x}' has {counted(len(series.values), 'value')} in these runs: "
            f"{', '.join(map(str, series.values)) or 'none'}", "a figure needs two"
        )  # fmt: skip
    return series


def _check(contestants: Sequence[Contestant], method: str, name: str) -> None:
    methods = {one.runs.method for one in contestants}
    if method and method not in methods:
        raise unknown_name("method with runs", method, methods)
    known: dict[str, set[str]] = {}
    for one in contestants:
        for run in one.finished:
            for params in run.record.spec.params.values():
                for key, value in params.items():
                    known.setdefault(key, set()).add(json.dumps(value))
    if name not in known:
        varied = {key for key, values in known.items() if len(values) > 1}
        hint = "" if known else "their methods have none; `kdbench compare` sets them side by side"
        raise unknown_name("parameter in these runs", name, varied or known, hint)


def _panel(axis: Axis, scores: Sequence[Scores], method: str, name: str) -> Panel:
    lines: dict[str, list[tuple[Value | None, Measurement]]] = {}
    for one in scores:
        seeds = one.seeds(axis.key)
        if seeds:
            value, title = _place(one.contestant, axis.condition, method, name)
            lines.setdefault(title, []).append((value, one.side(axis.key, seeds).measured))
    return Panel(axis, tuple(Line(title, _ascending(title, name, points)) for title, points in lines.items()))


def _place(one: Contestant, condition: str, method: str, name: str) -> tuple[Value | None, str]:
    """The value of the parameter, None where the method has none; and the line's title: all that was given but it."""
    records = [run.record for run in one.finished if condition in run.record.spec.params]
    spec = records[0].spec
    params = spec.params[condition]
    if is_of_suite(name):
        params = {name: value_of(spec.suite, name, condition)}
    mine = name in params and method in ("", one.runs.method)
    value = params[name] if mine else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    shown: Value | None = None if value is None else value if number else _word(value)
    others = {key: given for key, given in one.runs.params.items() if not (mine and key == name)}
    title = dataclasses.replace(one.runs, params=others).title
    return shown, title if mine else f"{title} (no {name})"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _ascending(
    title: str, name: str, points: Sequence[tuple[Value | None, Measurement]]
) -> tuple[tuple[Value | None, Measurement], ...]:
    values = [value for value, _ in points]
    twice = next((value for value in values if values.count(value) > 1), "")
    if twice != "":
        raise KdbenchError(f"{title} has several settings with {name} = {twice}", "plot a study that has it once")
    if any(isinstance(value, str) or value is None for value in values):
        return tuple(points)
    return tuple(sorted(points, key=lambda point: float(point[0] or 0)))
