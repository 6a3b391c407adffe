"""Made-up records as the ranking reads them, and parts of a board by name."""

from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard import Board, Boards, Row, rank
from kdbench.results.evidence import Evidence
from kdbench.specs import Suite
from tests.leaderboard.evidence import Made, digits

FEW = ("clean", "pgd")


def evidence(made: Made) -> Evidence:
    """What reading the made-up record would give."""
    return Evidence(made.record, Path(f"{made.record.run_id}.json"), tuple(made.log), made.predictions)


def other_suite(**changes: object) -> Suite:
    return digits().model_copy(update=changes)


def boards(folder: Path, *made: Made) -> Boards:
    for one in made:
        one.publish(folder)
    return rank(folder)


def board(folder: Path, *made: Made) -> Board:
    [one] = boards(folder, *made).boards
    return one


def row(found: Board, title: str) -> Row:
    [one] = [one for one in found.rows if one.title == title]
    return one
