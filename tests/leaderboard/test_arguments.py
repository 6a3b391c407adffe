"""Public functions of kdbench.leaderboard say what they were given and what they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench import leaderboard
from kdbench.errors import KdbenchError
from tests.leaderboard.evidence import make


@pytest.mark.parametrize(
    "runs", ["leaderboards/records", Path("leaderboards/records"), None, 3, ["a"], [make().record]]
)
def test_boards_are_made_of_evidence_alone(runs: Any) -> None:
    with pytest.raises(KdbenchError, match=r"^make_boards got a \w+, expected a sequence of Evidence") as caught:
        leaderboard.make_boards(runs)
    assert "rank(folder)" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["rank", "read_records", "read_evidence", "load", "write_schema"])
@pytest.mark.parametrize("path", [None, 3, ["leaderboards"], b"leaderboards"])
def test_a_path_is_a_path(name: str, path: Any) -> None:
    with pytest.raises(KdbenchError, match=r"^\w+ got a \w+, expected a path"):
        getattr(leaderboard, name)(path)


def test_what_is_written_needs_a_place_and_a_table(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="write_index got a int, expected a path"):
        leaderboard.write_index(tmp_path, 3)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(KdbenchError, match="save got a list, expected a DataFrame"):
        leaderboard.save([], tmp_path / "x.csv")  # type: ignore[arg-type]  # the mistake


def test_text_and_paths_are_both_paths(tmp_path: Path) -> None:
    path = make().publish(tmp_path)
    for place in (path, str(path)):
        assert isinstance(leaderboard.read_evidence(place), leaderboard.Evidence)
    assert leaderboard.rank(str(tmp_path)).boards[0].rows[0].method == "ce"
