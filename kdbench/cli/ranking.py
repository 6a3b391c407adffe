"""A leaderboard on a terminal: the rows of the ranking, in blocks of columns that fit a line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from kdbench.cli.listing import GAP, listing, number_width
from kdbench.leaderboard.board import Axis, Board, Row
from kdbench.results.untrusted import plain
from kdbench.results.wording import counted

SIGNS = {"best": "*", "near": "~", "unknown": "?", "": ""}
"""Of a cell's mark. One character each, so that numbers stand in line."""
LONGEST = 24
"""Characters of a method's title on one line."""


def ranking_text(board: Board, width: int) -> str:
    """A board as lines of at most ``width`` characters where its titles allow: head, blocks of columns, legend."""
    head = f"{plain(board.suite)}, version {board.version}: {counted(len(board.rows), 'method')}"
    columns = [[_head(axis), *(_cell(row, axis) for row in board.rows)] for axis in board.axes]
    texts = [[str(place + 1), plain(row.title, LONGEST), _rank(row)] for place, row in enumerate(board.rows)]
    legend = "\n".join(textwrap.fill(line, width) for line in _legend(board))
    parts = [head, *_blocks(texts, ("", "method", "mean rank"), columns, width), legend]
    return "\n\n".join(parts)


def _blocks(
    texts: Sequence[Sequence[str]], names: Sequence[str], columns: Sequence[Sequence[str]], width: int
) -> Iterator[str]:
    """Tables that each begin with the same columns and go on with as many others as fit."""
    fixed = sum(max(map(len, cells)) + len(GAP) for cells in zip(names, *texts, strict=True)) - len(GAP)
    left = list(columns)
    while left:
        taken, used = 1, fixed + len(GAP) + number_width(left[0])
        while taken < len(left) and used + len(GAP) + number_width(left[taken]) <= width:
            used += len(GAP) + number_width(left[taken])
            taken += 1
        block, left = left[:taken], left[taken:]
        rows = [[*text, *cells] for text, *cells in zip(texts, *(column[1:] for column in block), strict=True)]
        yield listing(rows, [*names, *(column[0] for column in block)], max(width, used), right=len(names))


def _head(axis: Axis) -> str:
    unit = "%" if axis.unit == "fraction" else plain(axis.unit, 12)
    return f"{plain(axis.title, 24)} {unit}{'' if axis.higher_is_better else ' (lower)'}"


def _cell(row: Row, axis: Axis) -> str:
    """Value, half of its interval, and its marks."""
    cell = row.cells.get(axis.key)
    if cell is None:
        return "-"
    half = (cell.ci_high - cell.ci_low) / 2
    numbers = (
        f"{100 * cell.value:.1f} +-{100 * half:.1f}" if axis.unit == "fraction" else f"{cell.value:.3g} +-{half:.2g}"
    )
    return f"{numbers}{SIGNS[cell.mark] or ' '}{'!' if cell.flags else ' '}"


def _rank(row: Row) -> str:
    return "-" if row.mean_rank is None else f"{row.mean_rank:.1f}"


def _legend(board: Board) -> Iterator[str]:
    """What the signs mean, and why rows have no rank."""
    yield "+- half a 95 % interval; * best, ~ surely near it, ? not known; (lower): lower is better"
    if any(cell.flags for row in board.rows for cell in row.cells.values()):
        yield "! a failed check makes the score doubtful; the method's page says which"
    yield from (f"{plain(row.title, LONGEST)}: {row.unranked}" for row in board.rows if row.unranked)
