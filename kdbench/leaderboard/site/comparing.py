"""The numbers of a comparison page: every paired difference, or the intervals alone where these are too many."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kdbench.leaderboard.board import Board, Pairs
from kdbench.leaderboard.site.table import table_data
from kdbench.results.wording import words

PAIRED: Final = 150
"""Methods up to which all pairs are embedded: about 11,000 pairs, 2 MB."""


def comparison_data(board: Board) -> dict[str, Any]:
    """The table's data, seeds and parameters of each row, and by axis the upper triangle of the differences.

    ``pairs[axis]`` is [values, half widths, p-values, significant, paired], the latter two as texts of 0 and 1, each
    over (0, 1), (0, 2), ..., (1, 2), ...; None where a board has more than ``PAIRED`` rows, and in place of NaN.
    """
    pairs = None
    if len(board.rows) <= PAIRED:
        pairs = [_triangle(board.pairs[axis.key]) if axis.key in board.pairs else None for axis in board.axes]
    facts = [[[run.record.spec.seed for run in row.runs], row.budget, words(row.params)] for row in board.rows]
    return {**table_data(board), "facts": facts, "pairs": pairs, "limit": PAIRED}


def _triangle(pairs: Pairs) -> list[Any]:
    upper = np.triu_indices(len(pairs.value), k=1)
    numbers = [_digits(part[upper].tolist(), digits) for part, digits in (
        (pairs.value, 5), (pairs.half_width, 4), (pairs.p_value, 2)
    )]  # fmt: skip
    return [*numbers, *("".join("01"[int(yes)] for yes in part[upper]) for part in (pairs.significant, pairs.paired))]


def _digits(values: list[float], digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]
