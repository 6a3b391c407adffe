"""The head of a suite's page: what was found and where each method stands, the data, how to cite and submit."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from kdbench.leaderboard.board import Board
from kdbench.leaderboard.placing import WEIGHTINGS, first_shares, standings
from kdbench.leaderboard.rows import unequal_views
from kdbench.leaderboard.site.badges import row_badges
from kdbench.leaderboard.site.citing import bibtex
from kdbench.leaderboard.site.downloads import NAME, formats
from kdbench.leaderboard.site.finding import finding
from kdbench.leaderboard.site.text import shorten, web_address
from kdbench.leaderboard.site.weighing import weighed


def start_view(board: Board) -> dict[str, Any]:
    """What the template of a suite's page asks for beside its table; ``standings`` has, for each row, its places, in
    how many of 100 weightings it is first, and its badges."""
    places, shares = standings(board.rows, board.axes), first_shares(board.rows, board.axes)
    unequal = unequal_views(board.rows)
    return {
        "finding": finding(board),
        "reference": next((shorten(row.title, 24) for row in board.rows if row.key == board.reference), ""),
        "standings": [
            ("" if place is None else place.places, round(100 * share), row_badges(row, unequal))
            for row, place, share in zip(board.rows, places, shares, strict=True)
        ],
        "downloads": [(ending.removeprefix("."), f"{NAME}{ending}") for ending in formats()],
        "bibtex": bibtex(board),
        "code": _code(),
        "commits": sorted(
            {run.record.provenance.kdbench_commit or "" for row in board.rows for run in row.records} - {""}
        ),
        "weightings": f"{WEIGHTINGS:,}",
        "weighed": weighed(board),
    }


def _code() -> str | None:
    """The project's address, where its package states one."""
    try:
        stated = metadata("kdbench").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    addresses = {
        name.strip().casefold(): web_address(url.strip()) for name, _, url in (one.partition(",") for one in stated)
    }
    return next((found for name in ("source", "repository", "homepage") if (found := addresses.get(name))), None)
