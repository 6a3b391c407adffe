"""A suite in numbers, as its pages and their scripts read it: columns, rows and cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kdbench.leaderboard.board import Axis, Board, Cell, Mark
from kdbench.leaderboard.site.text import shorten
from kdbench.results.wording import words

SIGNS: Final[Mapping[Mark, str]] = {"best": "★", "near": "☆", "unknown": "○", "": ""}


def axis_view(board: Board, axis: Axis) -> dict[str, Any]:
    """A column's heading and its description."""
    cells = [cell for row in board.rows if (cell := row.cells.get(axis.key))]
    sizes = sorted({cell.n for cell in cells})
    return {
        "key": axis.key,
        "title": shorten(axis.title, 24),
        "unit": "%" if axis.unit == "fraction" else shorten(axis.unit, 12),
        "better": "higher" if axis.higher_is_better else "lower",
        "what": f"{axis.metric.replace('_', ' ')} of task {axis.task}, condition {axis.condition}",
        "setting": words(axis.setting),
        "undecided": _undecided(cells),
        "n": " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else "",
    }


def _undecided(cells: Sequence[Cell]) -> str:
    """Why a column has no best, "" where it has one or nobody was measured."""
    if not cells or any(cell.mark == "best" for cell in cells):
        return ""
    tested = sum(not cell.one_seed for cell in cells)
    return "no significant difference" if tested > 1 else "not tested"


def hardware(board: Board) -> list[str]:
    """Machines that measured, each with its software."""
    facts = [evidence.record.provenance for row in board.rows for evidence in row.records]
    machines = {
        (fact.device_name, fact.device, f"{fact.threads} thread{'s' * (fact.threads != 1)}", fact.torch)
        for fact in facts
    }
    return [f"{name} ({device}, {threads}, torch {torch})" for name, device, threads, torch in sorted(machines)]


def seeds(board: Board) -> str:
    """How many seeds a method has, in words."""
    counts = sorted({len(row.runs) for row in board.rows if row.runs})
    if not counts:
        return "no finished runs"
    many = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{many} seed{'s' if counts[-1] > 1 else ''} per method"


def table_data(board: Board) -> dict[str, Any]:
    """The numbers for sorting, filtering and drawing: a row is [key, title, family, mean rank, cells]."""
    return {
        "axes": [
            [axis.key, shorten(axis.title, 24), axis.unit, int(axis.higher_is_better)] for axis in board.axes
        ],
        "signs": SIGNS,
        "rows": [
            [
                row.key,
                shorten(row.title),
                shorten(row.family, 32),
                row.mean_rank,
                [_numbers(row.cells.get(axis.key)) for axis in board.axes],
            ]
            for row in board.rows
        ],
    }  # fmt: skip


def _numbers(cell: Cell | None) -> list[float | int | str] | None:
    """Value, ends of the interval, whether it is flagged, whether it is of one seed, and its mark: to six digits, more
    than any interval is worth."""
    if cell is None:
        return None
    values = (cell.value, cell.ci_low, cell.ci_high)
    if not all(math.isfinite(value) for value in values):
        return None
    return [*(float(f"{value:.6g}") for value in values), int(bool(cell.flags)), int(cell.one_seed), cell.mark]
