"""The numbers of a comparison page: every paired difference, or the intervals alone where these are too many."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kdbench.leaderboard.board import Board, Pairs
from kdbench.results.wording import words

MOST_BYTES: Final = 200_000
"""Of all pairs of a page; a page stays below 300 kB."""
BYTES: Final = 3
"""Of a pair on an axis, four in base64."""
LEVELS: Final = 2**14 - 1
"""Of half widths, in parts of an axis's largest; this one is for a pair without a difference."""
STEPS: Final = 62
"""Of p-values for a factor of ten: a step is 4 %."""


def comparison_data(board: Board, table: Mapping[str, Any], pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The table's data (``table_data``), seeds and parameters of each row, and the pairs (``pairs_data``).

    A row is [key, title, cells].
    """
    facts = [[[run.record.spec.seed for run in row.runs], row.budget, words(row.params)] for row in board.rows]
    rows = [[key, title, cells] for key, title, *_, cells in table["rows"]]
    return {**table, "rows": rows, "facts": facts, **pairs}


def pairs_data(board: Board) -> dict[str, Any]:
    """By axis the upper triangle of the differences.

    ``pairs[axis]`` is [largest half width, base64] of pairs (0, 1), (0, 2), ..., (1, 2), ..., a pair being 3 bytes: a
    little-endian word of half width, whether the difference is significant and whether it is paired, then its p-value.
    ``pairs`` is None where there are more rows than ``limit``. Differences themselves are those of the rows' values.
    """
    limit = paired_rows(len(board.axes))
    pairs = None
    if len(board.rows) <= limit:
        pairs = [_triangle(board.pairs[axis.key]) if axis.key in board.pairs else None for axis in board.axes]
    return {"pairs": pairs, "limit": limit, "steps": STEPS, "levels": LEVELS}


def paired_rows(axes: int) -> int:
    """Most methods whose pairs a page has.

    >>> paired_rows(8)
    112
    """
    pairs = MOST_BYTES * 3 // 4 // (BYTES * max(1, axes))
    return int(0.5 + math.sqrt(0.25 + 2 * pairs))


def _triangle(pairs: Pairs) -> list[Any]:
    upper = np.triu_indices(len(pairs.value), k=1)
    half, p = pairs.half_width[upper], pairs.p_value[upper]
    facts = pairs.significant[upper].astype(np.uint16) << 1 | pairs.paired[upper]
    known = np.isfinite(pairs.value[upper]) & np.isfinite(half)
    largest = float(half[known].max()) if known.any() else 0.0
    parts = np.rint(np.where(known, half, 0.0) / (largest or 1.0) * (LEVELS - 1)).astype(np.uint16)
    content = np.empty(len(half), dtype=[("word", "<u2"), ("p", "u1")])
    content["word"] = np.where(known, parts, LEVELS) << 2 | facts
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.clip(np.rint(-STEPS * np.log10(p)), 0, 254)
    content["p"] = np.where(np.isfinite(p), steps, 255)
    return [float(f"{largest:.6g}"), base64.b64encode(content.tobytes()).decode()]
