"""The numbers of a comparison page: every paired difference, or the intervals alone where these are too many."""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from kdbench.leaderboard.board import Board, Pairs
from kdbench.leaderboard.site.text import shorten
from kdbench.results.wording import words

MOST_BYTES: Final = 200_000
"""Of all pairs, or of all rows, of a page; a page stays below 300 kB."""
MOST_PARAMS: Final = 120
"""Characters of a row's parameters."""
LEVELS: Final = 2**10 - 1
"""Of half widths, in parts of an axis's largest; this one is for a pair without a difference."""
STEPS: Final = 62
"""Of p-values for a factor of ten: a step is 4 %."""


def comparison_data(board: Board, table: Mapping[str, Any], pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The table's data (``table_data``), seeds and parameters of each row, the pairs (``pairs_data``) and their tests.

    A row is [key, title, cells]. ``tests[axis]`` is base64 of a byte per pair: its p-value, 255 for none. Of more rows
    than a page has room for it has the first.
    """
    facts = [
        [[run.record.spec.seed for run in row.runs], row.budget, shorten(words(row.params), MOST_PARAMS)]
        for row in board.rows
    ]
    rows = [[key, title, cells] for key, title, *_, cells in table["rows"]]
    sizes = itertools.accumulate(len(json.dumps(both, separators=(",", ":"))) for both in zip(rows, facts, strict=True))
    room = len(rows) if pairs["pairs"] else sum(size <= MOST_BYTES for size in sizes)
    tests = pairs["pairs"] and [
        _tests(board.pairs[axis.key]) if axis.key in board.pairs else None for axis in board.axes
    ]
    return {
        **table,
        "rows": rows[:room],
        "left": len(rows) - room,
        "facts": facts[:room],
        **pairs,
        "tests": tests,
        "steps": STEPS,
    }


def pairs_data(board: Board) -> dict[str, Any]:
    """By axis the upper triangle of the differences.

    ``pairs[axis]`` is [largest half width, base64] of pairs (0, 1), (0, 2), ..., (1, 2), ..., a pair being 12 bits, the
    lowest first: half width, whether the difference is significant and whether it is paired. ``pairs`` is None where
    there are more rows than ``limit``. Differences themselves are those of the rows' values.
    """
    limit = paired_rows(len(board.axes))
    pairs = None
    if len(board.rows) <= limit:
        pairs = [_triangle(board.pairs[axis.key]) if axis.key in board.pairs else None for axis in board.axes]
    return {"pairs": pairs, "limit": limit, "levels": LEVELS}


def paired_rows(axes: int) -> int:
    """Most methods whose pairs a page has: a pair on an axis takes two characters, and its test four thirds of one.

    >>> paired_rows(8)
    122
    """
    pairs = MOST_BYTES * 3 // (10 * max(1, axes))
    return int(0.5 + math.sqrt(0.25 + 2 * pairs))


def _triangle(pairs: Pairs) -> list[Any]:
    upper = np.triu_indices(len(pairs.value), k=1)
    half = pairs.half_width[upper]
    facts = pairs.significant[upper].astype(np.uint32) << 1 | pairs.paired[upper]
    known = np.isfinite(pairs.value[upper]) & np.isfinite(half)
    largest = float(half[known].max()) if known.any() else 0.0
    parts = np.rint(np.where(known, half, 0.0) / (largest or 1.0) * (LEVELS - 1)).astype(np.uint32)
    words = np.where(known, parts, LEVELS) << 2 | facts
    words = np.append(words, [0] * (len(words) % 2)).astype(np.uint32)
    both = words[::2] | words[1::2] << 12
    return [float(f"{largest:.6g}"), _text(both.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3])]


def _tests(pairs: Pairs) -> Markup:
    p = pairs.p_value[np.triu_indices(len(pairs.value), k=1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.clip(np.rint(-STEPS * np.log10(p)), 0, 254)
    return _text(np.where(np.isfinite(p), steps, 255).astype(np.uint8))


def _text(content: NDArray[np.uint8]) -> Markup:
    """Base64 of bytes: not cut as texts of records are."""
    return Markup(base64.b64encode(content.tobytes()).decode())
