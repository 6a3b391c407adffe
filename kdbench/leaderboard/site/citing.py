"""How to cite a suite's leaderboard, as BibTeX, from its records."""

from __future__ import annotations

import re

from kdbench.leaderboard.board import Board
from kdbench.leaderboard.site.text import shorten
from kdbench.results.wording import counted


def bibtex(board: Board) -> str:
    """One entry: the suite's version, how much was measured, when, and with which kdbench."""
    records = [run.record for row in board.rows for run in row.records]
    facts = [record.provenance for record in records]
    last = _last_day(board)
    versions = ", ".join(sorted({fact.kdbench_version for fact in facts}))
    year = f"  year = {{{last[:4]}}},\n" if last else ""
    measured = f"{counted(len(board.rows), 'method')}, {counted(len(records), 'record')}" + (
        f", last measured {last}" if last else ""
    )
    return (
        f"@misc{{kdbench-{board.key}-v{board.version},\n"
        f"  title = {{kdbench leaderboard of {_safe(board.suite)}, suite version {board.version}}},\n"
        f"  author = {{{{The kdbench authors}}}},\n{year}"
        f"  note = {{{measured}, kdbench {_safe(versions) or 'of an unknown version'}}}\n}}"
    )


def cited(board: Board) -> str:
    """What an image of a chart says of where its numbers are from."""
    last = _last_day(board)
    return f"{shorten(board.suite)}, suite version {board.version}{f', last measured {last}' if last else ''}"


def _last_day(board: Board) -> str:
    """When the newest record was finished, "" where none says it."""
    last = max((run.record.provenance.finished[:10] for row in board.rows for run in row.records), default="")
    return last if re.fullmatch(r"\d{4}-\d\d-\d\d", last) else ""


def _safe(text: str) -> str:
    """Untrusted text without what TeX reads as more than a letter."""
    return shorten(re.sub(r"[^A-Za-z0-9 .,+=/:-]", "?", text))
