"""``kdbench runs``: one line a run, for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.errors import KdbenchError
from tests.cli.test_startup import imported
from tests.leaderboard.evidence import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, and one whose record is damaged."""
    runs = tmp_path_factory.mktemp("runs")
    make(method="ce", finished="2026-02-01T00:00:00+00:00").keep(runs)
    make(method="kd", params={"temperature": 8}, seed=2, finished="2026-03-01T00:00:00+00:00").keep(runs)
    make(method="nrd").keep(runs).write_text("{")
    return runs


def said(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["runs", *map(str, arguments)], catch_exceptions=False, standalone_mode=False)
    return done.stdout


def test_a_line_a_run_newest_last(folder: Path) -> None:
    heads, _, *lines = said(folder).splitlines()
    assert heads.split() == ["suite", "method", "seed", "state", "scores", "folder"]
    text = "\n".join(lines)
    assert "kd temperature=8" in text and "damaged: is not JSON" in text
    assert text.index("digits/ce/") < text.index("digits/kd/") < text.index("digits/nrd/")
    assert "clean: clean 8" in text


def test_json_has_the_headline_of_each_task_with_its_interval(folder: Path) -> None:
    ce, kd, nrd = json.loads(said(folder, "--json"))
    assert (kd["changed"], kd["seed"], kd["state"]) == ({"temperature": 8}, 2, "finished")
    assert (nrd["state"], nrd["scores"]) == ("damaged", [])
    record = json.loads((Path(ce["folder"]) / "record.json").read_text())
    names = [(score["condition"], score["task"]) for score in ce["scores"]]
    assert len(names) == len(set(names)), "one score a task and condition"
    pgd = next(score for score in ce["scores"] if score["task"] == "pgd")
    last = [s for s in record["scores"] if s["task"] == "pgd" and s["metric"] == pgd["metric"]]
    assert pgd["value"] in [score["value"] for score in last] and pgd["title"].startswith("PGD")


def test_csv_has_a_column_a_headline(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(said(folder, "--csv"))))
    assert [row["method"] for row in rows] == ["ce", "kd", "nrd"]
    assert 0 < float(rows[0]["clean clean"]) < 1 and rows[2]["clean clean"] == ""
    assert json.loads(rows[1]["changed"]) == {"temperature": 8}


def test_filters_and_what_they_do_not_find(folder: Path, tmp_path: Path) -> None:
    [kept] = json.loads(said(folder, "--json", "--method", "kd", "--suite", "digits"))
    assert kept["method"] == "kd"
    with pytest.raises(KdbenchError, match="no method with runs named 'kdd'") as found:
        said(folder, "--method", "kdd")
    assert found.value.hint.startswith("did you mean 'kd'?")
    with pytest.raises(KdbenchError, match="--csv and --json"):
        said(folder, "--csv", "--json")
    assert "no runs in" in said(tmp_path)


def test_what_is_known_of_an_installation_is_listed_without_torch(folder: Path) -> None:
    _, first = imported("runs", folder, "--json")
    found, second = imported("runs", folder, "--json")
    assert first.stdout == second.stdout and json.loads(second.stdout)
    assert "torch" not in found
