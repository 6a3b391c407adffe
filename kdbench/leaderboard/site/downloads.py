"""The scores behind a suite's page, as files beside it."""

from __future__ import annotations

from kdbench import packages
from kdbench.leaderboard.board import Board
from kdbench.leaderboard.export import encoded
from kdbench.results.frame import make_frame, score_rows

NAME = "scores"


def formats() -> tuple[str, ...]:
    """Endings of the files that can be written here: Parquet takes pyarrow."""
    return (".csv", ".parquet") if packages.installed("pyarrow") else (".csv",)


def downloads(board: Board) -> dict[str, bytes]:
    """File to its content: every score of every record that the board ranks, one row each."""
    frame = make_frame(row for one in board.rows for run in one.records for row in score_rows(run.record))
    return {f"{NAME}{ending}": encoded(frame, ending) for ending in formats()}
