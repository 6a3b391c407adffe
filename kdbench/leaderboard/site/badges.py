"""What a reader must know of a row, as badges: a kind for its colour, a word or two, and a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdbench.leaderboard.board import Row
from kdbench.leaderboard.installed import installed_method
from kdbench.leaderboard.rows import view_words
from kdbench.leaderboard.site.text import shorten
from kdbench.leaderboard.standing import OURS

Badge = tuple[str, str, str]
"""Kind ("doubt", "missing" or "note"), text, and the sentence behind it."""


def row_badges(row: Row, unequal_views: Sequence[str] = ()) -> list[Badge]:
    """Of a method's runs; ``unequal_views`` are the conditions under which rows saw different views."""
    return [(kind, shorten(text, 60), shorten(why, 300)) for kind, text, why in _of_row(row, unequal_views)]


def _of_row(row: Row, unequal_views: Sequence[str]) -> Iterator[Badge]:
    flags = list(dict.fromkeys(flag for cell in row.cells.values() for flag in cell.flags))
    if row.evaluated is not None:
        yield "note", "a model", "Evaluated, not trained here: it has no place and changes nobody's."
    elif len(row.runs) == 1:
        yield "missing", "one seed", "Nothing is known of how its seeds differ: no test compares it."
    if flags:
        yield "doubt", f"⚠ {sum(bool(cell.flags) for cell in row.cells.values())} flagged", " ".join(flags)
    if row.failed:
        yield "missing", f"{len(row.failed)} failed", row.failed[0].record.error or "A run failed."
    if row.standing not in ("", OURS):
        yield "note", row.standing, "Whether somebody else trained it again and got the same."
    if row.budget != "standard":
        yield "note", f"{row.budget} budget", "Trained longer than the suite grants."
    if view := view_words(row, unequal_views):
        yield "note", f"view {view}", "Not all methods saw the same view of the training images."
    spec = None if row.evaluated is not None else installed_method(row.method)
    if spec is not None and any(run.record.spec.method_source != spec.source for run in row.records):
        said = " ".join(remark for remark in row.remarks if "source" in remark)
        yield "note", "older source", said or "The method's source here is another one than its records were made with."
