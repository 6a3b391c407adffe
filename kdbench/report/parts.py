"""What a report is made of: plots with the numbers behind them, tables, and what could not be made and why."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

Value = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers as rows; what is a fraction stays one."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def to_csv(self) -> str:
        """Comma-separated, one header line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_harmless(value) for value in row] for row in self.rows)
        return text.getvalue()

    def to_text(self) -> list[list[str]]:
        """For a page: numbers with four significant digits."""
        return [[_short(value) for value in row] for row in self.rows]


def _harmless(value: Value) -> Value:
    """A text that a spreadsheet would take for a formula is quoted; what is not a number is empty."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")):
        return f"'{value}"
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: Value) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure, its caption, and the numbers it shows."""

    key: str
    """File name without its ending."""
    title: str
    figure: Figure
    caption: str
    """What is shown: units, n, and what the intervals are."""
    table: Table


@dataclasses.dataclass(frozen=True)
class Card:
    """A test image, with what became of it."""

    images: tuple[tuple[str, bytes], ...]
    """What it is in words, and a PNG: the image as it is, then what was made of it."""
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Group:
    """Images of one kind."""

    title: str
    said: str
    """How many of how many are shown, and how they were chosen."""
    cards: tuple[Card, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Single test images, and the numbers that are known of them."""

    key: str
    title: str
    caption: str
    groups: tuple[Group, ...]
    table: Table


@dataclasses.dataclass(frozen=True)
class Missing:
    """A part that could not be made."""

    title: str
    reasons: tuple[str, ...]


Part = Plot | Gallery | Missing


def missing(title: str, reasons: Sequence[str]) -> Missing:
    """The part that could not be made, each reason once."""
    return Missing(title, tuple(dict.fromkeys(reasons)))
