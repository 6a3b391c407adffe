"""The sentence at the head of a suite's page: what was found, from the ranking alone."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.leaderboard.board import Axis, Board, Row
from kdbench.leaderboard.placing import families
from kdbench.leaderboard.site.text import number, shorten
from kdbench.results.families import where

MOST_SAID = 3
"""Families of which the sentence speaks."""


def finding(board: Board) -> str:
    """One sentence. A method is only called best where a test tells it from another, and a cost is only named where the
    paired difference is significant.
    """
    leads = {name: best for name, own in families(board.axes).items() if (best := _best(board, own)) is not None}
    if not leads:
        return "No test tells any two methods apart: nothing is found yet."
    leaders = {row.key for _, row in leads.values()}
    title = shorten(next(iter(leads.values()))[1].title, 40)
    if len(leaders) == 1:
        return f"{title} is best {_and([where(name) for name in leads])}: {'; '.join(_values(board, leads))}."
    return f"No method wins everywhere: {'; '.join(_values(board, leads))}."


def _best(board: Board, own: tuple[Axis, ...]) -> tuple[Axis, Row] | None:
    """The family's first counted axis that tells methods apart, and its best."""
    for axis in own:
        for row in board.rows if axis.counts else ():
            if axis.key in row.cells and row.cells[axis.key].mark == "best":
                return axis, row
    return None


def _values(board: Board, leads: dict[str, tuple[Axis, Row]]) -> Iterator[str]:
    """For each family its leader, its score beside the reference's, and what it costs on the first family's axis."""
    first = next(iter(leads.values()))
    by_row: dict[str, list[str]] = {}
    names = {row.key: shorten(row.title, 40) for _, row in leads.values()}
    for name, (axis, row) in list(leads.items())[1 : MOST_SAID + 1] + list(leads.items())[:1]:
        value = _amount(row, axis)
        beside = next((other for other in board.rows if other.key == board.reference and other is not row), None)
        if beside is not None and axis.key in beside.cells:
            value += f", {shorten(beside.title, 24)} {_amount(beside, axis)}"
        said = f"{'is best' if not by_row.get(row.key) else 'also'} {where(name)} ({shorten(axis.title, 24)} {value})"
        by_row.setdefault(row.key, []).append(said)
    for key, parts in by_row.items():
        cost = "" if key == first[1].key else _cost(board, key, *first)
        yield f"{names[key]} {' and '.join(parts)}{cost}"


def _amount(row: Row, axis: Axis) -> str:
    return f"{number(row.cells[axis.key].value, axis.unit)}{_unit(axis)}"


def _unit(axis: Axis) -> str:
    return "\N{NO-BREAK SPACE}%" if axis.unit == "fraction" else f"\N{NO-BREAK SPACE}{shorten(axis.unit, 12)}"


def _cost(board: Board, key: str, axis: Axis, best: Row) -> str:
    """What it gives up against the best of an axis, where that is significant."""
    places = {row.key: place for place, row in enumerate(board.rows)}
    pairs, pair = board.pairs[axis.key], (places[best.key], places[key])
    if not pairs.significant[pair]:
        return ""
    behind = number(abs(float(pairs.value[pair])), axis.unit)
    what = "points" if axis.unit == "fraction" else shorten(axis.unit, 12)
    return f" for {behind} {what} of {shorten(axis.title, 24)} less than {shorten(best.title, 40)}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
