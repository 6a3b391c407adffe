"""What the page's sliders weigh: the ranks of each row by family of columns."""

from __future__ import annotations

from typing import Any

from kdbench.leaderboard.board import Board
from kdbench.leaderboard.placing import families, family_ranks
from kdbench.leaderboard.site.text import shorten


def weighed(board: Board) -> list[str]:
    """The families that count."""
    return [shorten(name, 32) for name in families([axis for axis in board.axes if axis.counts])]


def weights_data(board: Board) -> dict[str, Any]:
    """``weighed``: families that count; ``worst``: their means of the last rank that there is; ``ranks[row]``: their
    means of midranks, first and last ranks, None for a row without a mean rank."""
    return {
        "weighed": weighed(board),
        "worst": worst_ranks(board),
        "ranks": [
            None if row.mean_rank is None else list(family_ranks(board.axes, row.cells).values()) for row in board.rows
        ],
    }


def worst_ranks(board: Board) -> list[float]:
    """Of a row with a mean rank, by family that counts: on a column, those that have the seeds for one are ranked, also
    where they lack another column."""
    found = []
    for axes in families([axis for axis in board.axes if axis.counts]).values():
        cells = [row.cells.get(axis.key) for axis in axes for row in board.rows]
        found.append(sum(cell is not None and not cell.few_seeds for cell in cells) / len(axes))
    return found
