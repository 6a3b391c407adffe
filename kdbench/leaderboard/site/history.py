"""How a method stood in each version of a suite: side by side to be read, never to be compared."""

from __future__ import annotations

from typing import Any

from kdbench.leaderboard.board import Axis, Board, Cell, Row
from kdbench.leaderboard.site.text import interval, number


def versions(board: Board, row: Row) -> dict[str, Any] | None:
    """Versions that have the method, the board's own first, and of each column what it is in each; None for one alone.

    Columns go by their titles, which say their setting: one that changed with the version is another column.
    """
    found = [(board, row)]
    found += [(other, same) for other in board.others for same in other.rows if same.key == row.key]
    if len(found) < 2:
        return None
    titles = dict.fromkeys(axis.title for one, _ in found for axis in one.axes)
    by_title = [{axis.title: _said(axis, same.cells.get(axis.key)) for axis in one.axes} for one, same in found]
    return {
        "heads": [(one.version, len(same.runs), len(one.rows)) for one, same in found],
        "ranks": ["" if same.mean_rank is None else f"{same.mean_rank:.2f}" for _, same in found],
        "lines": [(title, [own.get(title) for own in by_title]) for title in titles],
    }


def _said(axis: Axis, cell: Cell | None) -> tuple[str, str] | None:
    """Value, and interval and rank."""
    if cell is None:
        return None
    return number(cell.value, axis.unit), f"{interval(cell.ci_low, cell.ci_high, axis.unit)}, rank {cell.ranks}"
