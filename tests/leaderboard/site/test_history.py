"""Versions of a suite on a method's page."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.leaderboard.board import Board
from kdbench.leaderboard.ranking import rank
from kdbench.leaderboard.site import build
from kdbench.leaderboard.site.history import versions
from tests.leaderboard.evidence import digits, make


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods in today's version, one of them and another one in the version before it."""
    folder = tmp_path_factory.mktemp("records")
    old = digits().model_copy(update={"version": digits().version - 1})
    for method, suite, skill in (("ce", None, 1.0), ("kd", None, 0.9), ("ce", old, 0.5), ("gce", old, 0.8)):
        for seed in range(3):
            make(method, seed=seed, suite=suite, skill=skill).publish(folder)
    return folder


@pytest.fixture(scope="module")
def board(records: Path) -> Board:
    [found] = rank(records).boards
    return found


def test_each_version_is_ranked_by_itself(board: Board) -> None:
    [old] = board.others
    assert (board.version, old.version) == (digits().version, digits().version - 1)
    assert {row.key for row in board.rows} == {"ce", "kd"} and {row.key for row in old.rows} == {"ce", "gce"}
    assert all(cell.last_rank <= 2 for row in old.rows for cell in row.cells.values())
    assert len(board.excluded) == 6, "records of another version are still no part of the board"


def test_a_method_has_its_numbers_of_each_version(board: Board) -> None:
    [ce] = [row for row in board.rows if row.key == "ce"]
    [old] = [row for row in board.others[0].rows if row.key == "ce"]
    found = versions(board, ce)
    assert found is not None
    assert found["heads"] == [(board.version, 3, 2), (board.version - 1, 3, 2)]
    [cells] = [cells for title, cells in found["lines"] if title == "clean"]
    for cell, row in zip(cells, (ce, old), strict=True):
        assert cell[0] == f"{100 * row.cells['clean/clean'].value:.1f}"
        assert cell[1].endswith(f"rank {row.cells['clean/clean'].ranks}")
    [kd] = [row for row in board.rows if row.key == "kd"]
    assert versions(board, kd) is None, "it is in one version alone"


def test_the_page_says_that_versions_do_not_compare(records: Path, tmp_path: Path) -> None:
    build(rank(records), tmp_path)
    page = (tmp_path / "digits/method/ce.html").read_text(encoding="utf-8")
    assert "its numbers do not compare" in page and f"Version {digits().version - 1} " in page
    assert "its numbers do not compare" not in (tmp_path / "digits/method/kd.html").read_text(encoding="utf-8")
