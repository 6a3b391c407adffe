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
    """``weighed``: families that count; ``ranks[row]``: their means of midranks, first and last ranks, None for a row
    without a mean rank."""
    return {
        "weighed": weighed(board),
        "ranks": [
            None if row.mean_rank is None else list(family_ranks(board.axes, row.cells).values()) for row in board.rows
        ],
    }
