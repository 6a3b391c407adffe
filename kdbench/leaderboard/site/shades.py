"""How far a cell is behind the best of its column, in half intervals of the paired difference, as a shade."""

from __future__ import annotations

import numpy as np

from kdbench.leaderboard.board import Axis, Board

STEPS = (2.0, 4.0, 8.0)
"""Half widths of the 95 % interval up to which shades 1, 2 and 3 reach; 4 is beyond."""
OPEN = 0
"""Shade of what no test tells from the best, be it that there is no best."""


def shades(board: Board, axis: Axis) -> list[int | None]:
    """Of each row: 1 to 4 the further behind the more, or ``OPEN``; None for the best, and where there is no score."""
    cells = [row.cells.get(axis.key) for row in board.rows]
    best = next((place for place, cell in enumerate(cells) if cell is not None and cell.mark == "best"), None)
    found: list[int | None] = []
    for place, cell in enumerate(cells):
        if cell is None or cell.mark == "best":
            found.append(None)
        elif best is None or cell.flags or not board.pairs[axis.key].significant[best, place]:
            found.append(OPEN)
        else:
            pairs = board.pairs[axis.key]
            behind = abs(float(pairs.value[best, place])) / max(float(pairs.half_width[best, place]), 1e-12)
            found.append(1 + int(np.searchsorted(STEPS, behind)))
    return found
