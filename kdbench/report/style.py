"""How figures look: legible in print, distinguishable without colour, the same bytes for the same numbers."""

from __future__ import annotations

import contextlib
import functools
import io
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from kdbench.errors import KdbenchError

WIDTH = 7.0
"""Inches: the text width of a page."""
TALLEST = 100
"""Inches: an untrusted record may have any number of scores, and memory ends before them."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito 2008, which colour-blind readers can distinguish; the darkest first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 4)), (0, (1, 3)))
MOST_RUNS = len(COLOURS)
"""More runs in one figure could not be distinguished."""
FAINT = "#595959"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "errorbar.capsize": 2.5,
    "image.cmap": "cividis",
    "savefig.dpi": 200,
    # A record's text is untrusted: no dollar sign in it starts a formula.
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "kdbench",
    "pdf.fonttype": 42,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """This style for the figures that are made and saved inside, whatever the user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def draw_intervals(
    axes: Axes, places: ArrayLike, low: ArrayLike, high: ArrayLike, *, along: Literal["x", "y"] = "y", **look: Any
) -> None:
    """Bars from ``low`` to ``high``, (n,) each, wherever the values stand: an untrusted record's interval may leave its
    value out, and of errors beside a value matplotlib takes none below 0."""
    middle, half = np.add(low, high) / 2, np.subtract(high, low) / 2
    if along == "x":
        axes.errorbar(middle, places, xerr=half, fmt="none", **look)
    else:
        axes.errorbar(places, middle, yerr=half, fmt="none", **look)


def make_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches, that no global state knows of; raises ``KdbenchError`` for a very tall one."""
    if height > TALLEST:
        raise KdbenchError(f"{height:,.0f} inches of figure would be needed, at most {TALLEST} are drawn")
    return Figure(figsize=(width, height), layout="constrained")


def png_of(figure: Figure) -> bytes:
    """The figure as PNG."""
    return _saved(figure, "png")


def svg_of(figure: Figure) -> bytes:
    """The figure as SVG, without a date."""
    return _saved(figure, "svg")


def pdf_of(figure: Figure) -> bytes:
    """The figure as PDF, without a date, with fonts that can be edited."""
    return _saved(figure, "pdf")


METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "kdbench"},
    "svg": {"Date": None, "Creator": "kdbench"},
    "pdf": {"CreationDate": None, "Creator": "kdbench", "Producer": None},
}
"""Of a file by its kind: nothing that changes with the day."""


def _saved(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata=METADATA[kind])
    return file.getvalue()


@functools.cache
def _drawable() -> frozenset[int]:
    """Code points that the font can draw."""
    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def plain(text: object, limit: int = 48) -> str:
    """Untrusted text as one short line of characters that can be drawn.

    >>> plain("a\\u202eb\\n  c")
    'a b c'
    """
    kept = ("\N{REPLACEMENT CHARACTER}" if ord(c) not in _drawable() else c for c in _printable(str(text)[: 4 * limit]))
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _printable(text: str) -> str:
    """Control characters, directions and lone surrogates as spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in text)


def legend_outside(figure: Figure, axes: Axes, loc: Literal["upper", "lower"], most: int = 4) -> None:
    """One legend for all panels, in as many columns as fit; the figure grows by its height."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    across = max(1, min(most, len(labels), int(90 / (max(map(len, labels)) + 7))))
    figure.set_figheight(figure.get_figheight() + 0.19 * -(-len(labels) // across))
    figure.legend(
        handles, labels, loc="outside upper center" if loc == "upper" else "outside lower center", ncols=across
    )


def in_percent(axes: Axes, label: str, *, along: str = "y", full: bool = True) -> None:
    """Write fractions as percent along an axis; ``full`` shows all of 0 to 100."""
    axis = axes.yaxis if along == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
    axis.set_label_text(label)
    if full:
        (axes.set_ylim if along == "y" else axes.set_xlim)(0, 1)


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a number of percent, without the sign.

    >>> percent(0.4567)
    '45.7'
    """
    return f"{100 * value:.{digits}f}"


def grid_of(figures: int, most: int = 3) -> tuple[int, int]:
    """Rows and columns for so many panels."""
    across = min(figures, most)
    return -(-figures // across), across
