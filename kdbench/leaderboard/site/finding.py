"""The sentence at the head of a suite's page: what was found, from the ranking alone."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.leaderboard.board import Axis, Board, Row
from kdbench.leaderboard.placing import families
from kdbench.leaderboard.site.text import number, shorten

MOST_SAID = 3
"""Families of which the sentence speaks."""


def finding(board: Board) -> str:
    """One sentence. A method is called best on a column where a test tells it from every other, and first where it has
    the best mean; how many no test tells from it is said. A cost is named where the paired difference is significant.
    """
    leads = [best for own in families(board.axes).values() if (best := _best(board, own)) is not None]
    if not leads:
        return "No test tells any two methods apart: nothing is found yet."
    if len({row.key for _, row in leads}) == 1:
        return f"{shorten(leads[0][1].title, 40)} is {_and([_place(board, axis, row) for axis, row in leads])}."
    return f"No method wins everywhere: {'; '.join(_values(board, leads))}."


def _best(board: Board, own: tuple[Axis, ...]) -> tuple[Axis, Row] | None:
    """The family's first counted axis that tells methods apart, and its best."""
    for axis in own:
        for row in board.rows if axis.counts else ():
            if axis.key in row.cells and row.cells[axis.key].mark == "best":
                return axis, row
    return None


def _values(board: Board, leads: list[tuple[Axis, Row]]) -> Iterator[str]:
    """Each leader with its columns, and what it costs on the first family's."""
    by_row: dict[str, list[str]] = {}
    names = {row.key: shorten(row.title, 40) for _, row in leads}
    for axis, row in leads[1 : MOST_SAID + 1] + leads[:1]:
        by_row.setdefault(row.key, []).append(_place(board, axis, row))
    for key, parts in by_row.items():
        cost = "" if key == leads[0][1].key else _cost(board, key, *leads[0])
        yield f"{names[key]} is {_and(parts)}{cost}"


def _place(board: Board, axis: Axis, row: Row) -> str:
    """That a row is best or first on a column, with its score and the reference's."""
    said = _amount(row, axis)
    other = next((one for one in board.rows if one.key == board.reference and one is not row), None)
    if other is not None and axis.key in other.cells:
        said += f", {shorten(other.title, 24)} {_amount(other, axis)}"
    alike = _alike(board, axis, row)
    said += f"; no test tells {alike} {'others' if alike > 1 else 'other'} from it" if alike else ""
    return f"{'first' if alike else 'best'} on {shorten(axis.title, 24)} ({said})"


def _alike(board: Board, axis: Axis, row: Row) -> int:
    """How many of the other tested methods no test tells from this one."""
    place, significant = board.rows.index(row), board.pairs[axis.key].significant
    cells = [one.cells.get(axis.key) for one in board.rows]
    tested = [at for at, cell in enumerate(cells) if cell is not None and not cell.one_seed and not cell.flags]
    return sum(at != place and not significant[place, at] for at in tested)


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
