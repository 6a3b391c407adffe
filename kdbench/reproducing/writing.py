"""The table of a reproduction as CSV, Markdown and a page, with its figure: ``<folder>/<id>/<scale>/``."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from kdbench.files import check_writable, write_atomically
from kdbench.report.parts import Table
from kdbench.report.style import png_of, styled, svg_of
from kdbench.reproducing.figures import draw_points
from kdbench.reproducing.judging import Point
from kdbench.reproducing.outcome import FILE, Number, Outcome, Pair, write_outcome
from kdbench.reproducing.reproduction import FULL, Figure

COLUMNS: Final = (
    "row", "column", "x", "what", "scale", "suite", "unit", "published", "measured", "ci_low", "ci_high",
    "difference", "tolerance", "verdict", "why", "n", "seeds", "interval_over", "runs", "flagged",
)  # fmt: skip
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid "
    "#ccc;font-variant-numeric:tabular-nums}img{max-width:100%}"
)


def write_all(outcome: Outcome, figure: Figure | None, points: Sequence[Point], folder: Path) -> list[Path]:
    """Write everything of an outcome; the JSON last, as its being there says that the rest is.

    Args:
        folder: of reproductions; the files are in ``<id>/<scale>`` below it.

    Raises:
        KdbenchError: nothing can be written there.
    """
    place = folder / outcome.id / outcome.scale
    check_writable(place)
    (place / FILE).unlink(missing_ok=True)
    written: dict[str, bytes] = {}
    failure: Exception | None = None
    if figure is not None:
        try:
            written |= _drawn(figure, points, ", ".join(one.label for one in outcome.suites))
        except Exception as error:  # hours of work are not lost with a figure: it is raised when the rest is written
            failure = error
    written["table.csv"] = csv_table(outcome).to_csv().encode()
    written["table.md"] = markdown(outcome, "figure.png" if "figure.png" in written else None).encode()
    written["table.html"] = page(outcome, written.get("figure.svg")).encode()
    for name in ("figure.png", "figure.svg"):
        if name not in written:
            (place / name).unlink(missing_ok=True)  # of an earlier run
    for name, content in written.items():
        write_atomically(place / name, content)
    written_last = write_outcome(outcome, place)
    if failure is not None:
        raise failure
    return [*(place / name for name in sorted(written)), written_last]


def _drawn(figure: Figure, points: Sequence[Point], suite: str) -> dict[str, bytes]:
    with styled():
        canvas = draw_points(figure, points, suite)
        return {} if canvas is None else {"figure.png": png_of(canvas), "figure.svg": svg_of(canvas)}


def csv_table(outcome: Outcome) -> Table:
    """Every number with all that is known of it, one a line."""
    rows = tuple(
        (
            one.row, one.column, one.x, one.what, outcome.scale, one.suite, one.unit, one.published, one.value,
            one.ci_low, one.ci_high, one.difference, one.tolerance, one.verdict, one.why, one.n,
            " ".join(map(str, one.seeds)), one.basis, " ".join(one.runs), bool(one.doubts),
        )
        for one in outcome.numbers
    )  # fmt: skip
    return Table(COLUMNS, rows)


def number_rows(outcome: Outcome, *, measured: bool = False) -> list[tuple[str, ...]]:
    """Of the table that is read: row, column, published, measured, difference, verdict, n and seeds; what is neither
    published nor measured is left out, or with ``measured`` what is not."""
    per_row = Counter(one.row for one in outcome.numbers)
    columns = len({one.column for one in outcome.numbers})

    def place(one: Number) -> str:
        several = one.x is not None and per_row[one.row] > columns  # in one column: points of a curve
        return f"{one.row} at {_short(one.x)}" if several else one.row

    return [
        (
            place(one), one.column, _told(one, one.published), _told(one, one.value), _ends(one),
            _signed(one.difference), f"{one.verdict}{f': {one.why}' if one.why else ''}",
            "" if one.n is None else f"{one.n:,}", str(len(one.seeds) or ""),
        )
        for one in outcome.numbers
        if one.value is not None or (one.published is not None and not measured)
    ]  # fmt: skip


def number_heads(outcome: Outcome) -> tuple[str, ...]:
    """Heads of ``number_rows``: each says at which scale."""
    here = f"measured, {outcome.scale}"
    return "row", "column", f"published, {FULL}", here, "95 % interval", "difference", "verdict", "n", "seeds"


def pair_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """Pairs in words, with the published and the measured difference."""
    return [
        (_in_words(pair), _signed(pair.published), _signed(pair.difference),
         f"{_signed(pair.ci_low)} to {_signed(pair.ci_high)}", pair.verdict, pair.says)
        for pair in outcome.pairs
    ]  # fmt: skip


PAIR_HEADS: Final = ("pair", "published", "measured", "95 % interval", "verdict", "by")


def _in_words(pair: Pair) -> str:
    """
    >>> from kdbench.reproducing.outcome import Side
    >>> a, b = (Side(row=row, column="clean") for row in "ab")
    >>> values = {"x": None, "says": "", "published": 1.0, "difference": 2.0, "ci_low": 1.0, "ci_high": 3.0}
    >>> _in_words(Pair(first=a, second=b, relation="higher", unit="%", paired=True, verdict="same direction", **values))
    'clean: a higher than b'
    """
    words = {"equal": "equal to"}.get(pair.relation, f"{pair.relation} than")
    at = "" if pair.x is None else f" at {_short(pair.x)}"
    if pair.first.column == pair.second.column:
        return f"{pair.first.column}{at}: {pair.first.row} {words} {pair.second.row}"
    return f"{pair.first.row}, {pair.first.column} {words} {pair.second.row}, {pair.second.column}"


def _ends(number: Number) -> str:
    return "" if number.ci_low is None else f"{_told(number, number.ci_low)} to {_told(number, number.ci_high)}"


def _told(number: Number, value: float | None) -> str:
    """A value of a number, percent with two digits."""
    return _short(value) if value is None or number.unit != "%" else f"{value:.2f}"


def _short(value: float | str | None) -> str:
    """
    >>> [_short(value) for value in (92.567, 0.0801, 0.05, 1200.0, "a", None)]
    ['92.57', '0.0801', '0.05', '1200', 'a', '']
    """
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3g}"


def _notes(outcome: Outcome) -> list[str]:
    """What a reader must know, a sentence each."""
    suites = ", ".join(f"{one.label} (version {one.version})" for one in outcome.suites)
    seeds = ", ".join(map(str, outcome.seeds))
    doubts = dict.fromkeys(f"{one.row}, {one.column}: {doubt}" for one in outcome.numbers for doubt in one.doubts)
    made = outcome.provenance
    return [
        *outcome.summary(),
        *outcome.known,
        f"Suite {suites}; seeds {seeds}; measured on {'; '.join(outcome.hardware) or 'nothing yet'}.",
        *doubts,
        f"kdbench {made.kdbench_version}, commit {made.kdbench_commit or 'unknown'}, {made.finished}.",
    ]


def markdown(outcome: Outcome, figure: str | None) -> str:
    """As Markdown."""
    parts = [
        f"# {outcome.id}: {outcome.title}", outcome.paper, "\n".join(f"- {note}" for note in _notes(outcome)),
        *([f"![{outcome.title}]({figure})"] if figure else []),
        _md_table(number_heads(outcome), number_rows(outcome)),
        *([_md_table(PAIR_HEADS, pair_rows(outcome))] if outcome.pairs else []),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _md_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(outcome: Outcome, figure: bytes | None) -> str:
    """As a self-contained page without script; texts stay text."""
    image = ""
    if figure is not None:
        data = base64.b64encode(figure).decode()
        image = f'<img alt="{html.escape(outcome.title)}" src="data:image/svg+xml;base64,{data}">'
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in _notes(outcome))
    pairs = _html_table(PAIR_HEADS, pair_rows(outcome)) if outcome.pairs else ""
    title = html.escape(f"{outcome.id}: {outcome.title}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'\"><style>{STYLE}</style></head><body>\n"
        f"<h1>{title}</h1><p>{html.escape(outcome.paper)}</p><ul>{notes}</ul>{image}\n"
        f"{_html_table(number_heads(outcome), number_rows(outcome))}{pairs}</body></html>\n"
    )


def _html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"
