"""What a suite's page shows: what was found, how to read it, and the numbers of its table and plots for its scripts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, Final

import numpy as np

from kdbench.leaderboard.board import Axis, Board, Row
from kdbench.leaderboard.rows import unequal_views
from kdbench.leaderboard.site.badges import axis_badges, row_badges
from kdbench.leaderboard.site.citing import bibtex
from kdbench.leaderboard.site.downloads import NAME, formats
from kdbench.leaderboard.site.finding import finding
from kdbench.leaderboard.site.shades import shades
from kdbench.leaderboard.site.table import axis_view, hardware, seeds, table_data
from kdbench.leaderboard.site.text import shorten, web_address
from kdbench.leaderboard.standing import WEIGHTINGS, families, first_shares

PAIRED: Final = 24
"""Methods up to which the differences to every row are in the page; beyond, those to the reference alone."""
ALIKE: Final = 0.9
"""Correlation over methods from which a column is said to move with another."""


def start_view(board: Board) -> dict[str, Any]:
    """What the template of a suite's page asks for."""
    groups = families(board.axes)
    return {
        "finding": finding(board),
        "axes": [
            {**axis_view(board, axis), "family": axis.family, "counts": axis.counts, "caution": axis.caution,
             "alike": _alike(board, axis)}
            for own in groups.values() for axis in own
        ],
        "families": [name for name, own in groups.items() if any(axis.counts for axis in own)],
        "methods": sorted({shorten(row.family, 32) for row in board.rows if row.family}),
        "count": len(board.rows),
        "hardware": hardware(board),
        "seeds": seeds(board),
        "downloads": [(ending.removeprefix("."), f"{NAME}{ending}") for ending in formats()],
        "bibtex": bibtex(board),
        "code": _code(),
        "commits": sorted({run.record.provenance.kdbench_commit or "" for row in board.rows for run in row.records} - {""}),
        "weightings": f"{WEIGHTINGS:,}",
    }  # fmt: skip


def start_data(board: Board) -> dict[str, Any]:
    """The table's numbers, and with them what orders, shades and describes its rows.

    ``kinds[axis]`` is [family, counts, test images, caution, badges], ``more[row]`` [seeds, paper, minutes a seed, GiB,
    badges, why it has no place, share of weightings], ``ranks[row][axis]`` [first, last rank, shade] or None, and
    ``against[row][axis]`` what every row is better by than that one: [differences, half widths, significant, paired].
    """
    data, groups = table_data(board), families(board.axes)
    names, shaded = list(groups), [shades(board, axis) for axis in board.axes]
    unequal, shares = unequal_views(board.rows), first_shares(board.rows, board.axes)
    places = {axis.key: place for place, axis in enumerate(board.axes)}
    measured = {axis["key"]: axis["n"] for axis in (axis_view(board, axis) for axis in board.axes)}
    against = range(len(board.rows)) if len(board.rows) <= PAIRED else [_place(board, board.reference)]
    return {
        **data,
        "families": [[shorten(name, 32), [places[axis.key] for axis in own]] for name, own in groups.items()],
        "kinds": [
            [names.index(axis.family), int(axis.counts), measured[axis.key], axis.caution, axis_badges(board, axis)]
            for axis in board.axes
        ],
        "more": [_facts(row, unequal, share) for row, share in zip(board.rows, shares, strict=True)],
        "ranks": [
            [
                None if (cell := row.cells.get(axis.key)) is None else [cell.rank, cell.last_rank, shade[place]]
                for axis, shade in zip(board.axes, shaded, strict=True)
            ]
            for place, row in enumerate(board.rows)
        ],
        "reference": _place(board, board.reference),
        "against": {place: _against(board, place) for place in against if place is not None},
    }  # fmt: skip


def _place(board: Board, key: str) -> int | None:
    return next((place for place, row in enumerate(board.rows) if row.key == key), None)


def _facts(row: Row, unequal: Sequence[str], share: float) -> list[Any]:
    records = [run.record for run in row.runs]
    minutes = [sum(student.seconds for student in one.hashes.students.values()) / 60 for one in records]
    trained = bool(records) and row.evaluated is None
    return [
        len(row.runs),
        web_address(row.paper) or "",
        float(f"{statistics.fmean(minutes):.3g}") if trained else None,
        float(f"{max(one.provenance.peak_memory_bytes for one in records) / 2**30:.2g}") if trained else None,
        row_badges(row, unequal),
        row.unranked,
        round(share, 4),
    ]


def _against(board: Board, other: int) -> list[Any]:
    found: list[Any] = []
    for axis in board.axes:
        pairs = board.pairs.get(axis.key)
        if pairs is None:
            found.append(None)
            continue
        values = [_digits(axis.sign * value) for value in pairs.value[:, other].tolist()]
        halves = [_digits(value) for value in pairs.half_width[:, other].tolist()]
        known = ("".join("01"[int(yes)] for yes in part[:, other]) for part in (pairs.significant, pairs.paired))
        found.append([values, halves, *known])
    return found


def _digits(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _alike(board: Board, axis: Axis) -> str:
    """Columns that it moves with over methods, or against, with the correlation; it takes five methods."""
    found = []
    for other in board.axes:
        both = [(row.cells[axis.key].value, row.cells[other.key].value) for row in board.rows
                if axis.key in row.cells and other.key in row.cells]  # fmt: skip
        if other.key == axis.key or len(both) < 5 or any(np.ptp(one) == 0 for one in np.transpose(both)):
            continue
        correlation = float(np.corrcoef(np.transpose(both))[0, 1])
        if abs(correlation) >= ALIKE:
            found.append(f"{shorten(other.title, 24)} {correlation:.2f}".replace("-", "\N{MINUS SIGN}"))
    return ", ".join(found)


def _code() -> str | None:
    """The project's address, where its package states one."""
    try:
        stated = metadata("kdbench").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    addresses = {name.strip().casefold(): web_address(url.strip()) for name, _, url in (one.partition(",") for one in stated)}
    return next((found for name in ("source", "repository", "homepage") if (found := addresses.get(name))), None)
