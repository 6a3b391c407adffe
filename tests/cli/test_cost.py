"""``kdbench run --dry-run``: what is there, what is left, and how long it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.results.record import Record
from kdbench.running.runner import run
from tests.conftest import SMALL_SUITE


def test_a_dry_run_names_what_is_there_what_is_left_and_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL_SUITE)
    words = ["run", "--method", "kd", "--suite", str(suite), "--tasks", "clean", "--out", str(tmp_path / "runs")]

    def said(*more: str) -> str:
        found = CliRunner().invoke(app, [*words, *more, "--dry-run"], catch_exceptions=False, standalone_mode=False)
        return found.stdout

    def costs(*more: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(said(*more, "--json"))["runs"]
        return runs

    first = said()
    assert "no earlier record says" in first and "left: 2 networks to train, 1 measurements" in first
    assert not [*tmp_path.rglob("record.json"), *tmp_path.rglob("*.safetensors"), *tmp_path.rglob("begun")]
    record: Record = run(str(suite), "kd", tasks=["clean"], out=tmp_path / "runs")
    assert "it is there already" in said() and "nothing is left to do" in said()
    again, other = costs("--fresh"), costs("--seed", "0", "--seed", "1")
    assert (other[0]["run_id"], other[0]["state"]) == (record.run_id, "finished")
    for cost in (again[0], other[1]):
        teacher, student = cost["networks"]
        assert (teacher["name"], teacher["done"], teacher["seconds"]) == ("clean/teacher", 2, 0)
        assert (student["name"], student["done"], student["epochs"]) == ("clean/student", 0, 2)
        trained, measured = record.hashes.students["clean"].seconds, record.provenance.seconds["evaluate/clean/clean"]
        assert student["seconds"] == trained
        assert cost["seconds"] == pytest.approx(trained + measured)


def test_a_dry_run_says_what_the_run_would_say_of_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the method has no recipe for this setting, for one."""
    notes: list[str] = []
    monkeypatch.setattr("kdbench.progress.say", notes.extend)
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL_SUITE)
    CliRunner().invoke(app, ["run", "--method", "ce", "--suite", str(suite), "--tasks", "clean", "--dry-run"])
    assert [note[:42] for note in notes] == ["note: no recipe of method 'ce' is for fami"]
