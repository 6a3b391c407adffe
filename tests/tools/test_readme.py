from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.leaderboard import Board, rank
from kdbench.results.wording import FLAG
from tests.leaderboard.evidence import digits, make
from tools import readme


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Of the suite that README.md shows: two methods, one of three seeds, one of one and flagged under PGD."""
    records = tmp_path_factory.mktemp("records")
    suite = digits().model_copy(update={"name": readme.SUITE})
    for made in (
        make("a", suite=suite),
        make("a", seed=1, suite=suite),
        make("a", seed=2, suite=suite),
        make("b", suite=suite, skill=0.2, flagged=True),
    ):
        made.publish(records)
    [board] = rank(records).boards
    return board


@pytest.fixture(scope="module")
def lines(board: Board, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    text = readme.results(rank(board.rows[0].runs[0].path.parents[2]))
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip("`"): row for row in cells}


def test_a_row_per_method_in_the_boards_order(board: Board, lines: dict[str, list[str]]) -> None:
    assert list(lines) == ["method", "---", *(row.title for row in board.rows)]
    assert lines["method"] == ["method", "rank", "seeds", *(axis.title for axis in board.axes)]
    assert {name: lines[name][2] for name in "ab"} == {"a": "3", "b": "1"}
    assert lines["a"][1] == f"{board.rows[0].mean_rank:.1f}"
    assert lines["b"][1] == "-", "one seed has no mean rank"


def test_a_cell_is_percent_with_its_interval(board: Board, lines: dict[str, list[str]]) -> None:
    for row in board.rows:
        for axis, text in zip(board.axes, lines[row.title][3:], strict=True):
            found = row.cells[axis.key]
            value, low, high = (float(number) for number in re.findall(r"[\d.]+", text))
            assert (value, low, high) == pytest.approx(
                (100 * found.value, 100 * found.ci_low, 100 * found.ci_high), abs=0.0501
            )
            assert text.startswith("**") == (found.mark in ("best", "near"))
            assert text.endswith(FLAG) == bool(found.flags)
    assert any(text.endswith(FLAG) for text in lines["b"])
    assert readme.cell(None) == "-"


def test_a_suite_without_records_has_no_table(tmp_path: Path) -> None:
    make("a").publish(tmp_path)  # of another suite
    assert readme.results(rank(tmp_path)) == "No records of `cifar10-lite` yet."


def test_the_rest_of_the_readme_stays() -> None:
    now = (readme.ROOT / "README.md").read_text()
    made = readme.readme()
    assert made.partition(readme.BEGIN)[0] == now.partition(readme.BEGIN)[0]
    assert made.partition(readme.END)[2] == now.partition(readme.END)[2]
