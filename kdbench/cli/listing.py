"""A plain table of text: for lists that must be there at once, before anything that draws better ones is loaded."""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

WIDE = 150
"""Characters of a line where there is no terminal."""
NARROW = 80
"""The same of tables of numbers."""
GAP = "  "


def listing(
    rows: Iterable[Sequence[str]], columns: Sequence[str], width: int | None = None, *, right: int | None = None
) -> str:
    """Rows under their columns' names, cells wrapped where a line would be longer than the terminal.

    ``right``: from that column on cells are numbers, flush right, and their heads are broken between words.

    >>> print(listing([("ce", "plain cross-entropy"), ("kd", "")], ("method", "what it is"), width=21))
    method  what it is
    ------  -------------
    ce      plain
            cross-entropy
    kd
    """
    if width is None:
        width = terminal_width(WIDE)
    table = [tuple(columns), *map(tuple, rows)]
    texts = len(columns) if right is None else right
    widths = [max(len(cell) for cell in cells) for cells in zip(*(line[:texts] for line in table), strict=True)]
    widths += [number_width(cells) for cells in zip(*(line[texts:] for line in table), strict=True)]
    room = max(width - len(GAP) * (len(widths) - 1), len(widths))
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    header, *body = (_lines(row, widths, texts) for row in table)
    return "\n".join([*header, GAP.join("-" * one for one in widths), *(line for lines in body for line in lines)])


def number_width(cells: Sequence[str]) -> int:
    """Of a column of numbers: none of them is broken, nor is a word of its head, which comes first."""
    return max(1, *map(len, (*cells[0].split(), *cells[1:])))


def terminal_width(otherwise: int) -> int:
    """Characters of a line of the terminal, or what holds where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else otherwise


def _lines(row: Sequence[str], widths: Sequence[int], texts: int) -> list[str]:
    cells = [textwrap.wrap(cell, one, break_on_hyphens=False) for cell, one in zip(row, widths, strict=True)]
    fits = [str.ljust] * texts + [str.rjust] * (len(cells) - texts)
    return [
        GAP.join(fit(text, one) for fit, text, one in zip(fits, line, widths, strict=True)).rstrip()
        for line in itertools.zip_longest(*cells, fillvalue="")
    ] or [""]
