"""A plain table of text: for lists that must be there at once, before anything that draws better ones is loaded."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

WIDE = 150
"""Characters of a line where there is no terminal."""
GAP = "  "


def listing(rows: Iterable[Sequence[str]], columns: Sequence[str], width: int | None = None) -> str:
    """Rows under their columns' names, cells wrapped where a line would be longer than the terminal.

    >>> print(listing([("ce", "plain cross-entropy"), ("kd", "")], ("method", "what it is"), width=21))
    method  what it is
    ------  -------------
    ce      plain
            cross-entropy
    kd
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    table = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(cell) for cell in cells) for cells in zip(*table, strict=True)]
    room = max(width - len(GAP) * (len(widths) - 1), len(widths))
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    header, *body = (_lines(row, widths) for row in table)
    return "\n".join([*header, GAP.join("-" * one for one in widths), *(line for lines in body for line in lines)])


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, one, break_on_hyphens=False) for cell, one in zip(row, widths, strict=True)]
    return [
        GAP.join((cell[line] if line < len(cell) else "").ljust(one) for cell, one in zip(cells, widths, strict=True))
        .rstrip()
        for line in range(max(1, *map(len, cells)))
    ]  # fmt: skip
