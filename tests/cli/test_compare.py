"""``kdbench compare`` and ``kdbench plot``, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.cli import app
from kdbench.errors import KdbenchError
from tests.leaderboard.evidence import make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1):
        for sigma in (0.1, 0.2):
            made = make("soft", seed=seed, skill=1 + sigma, params={"sigma": sigma}, tasks=["clean", "pgd"])
            made.keep(tmp_path / "runs")
        make("ce", seed=seed, tasks=["clean", "pgd"]).keep(tmp_path / "runs")
    return tmp_path / "runs"


def kdbench(*arguments: str | Path) -> None:
    app(list(map(str, arguments)), standalone_mode=False)


def test_one_table_its_files_and_what_a_reader_must_know(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "t.csv", tmp_path / "t.tex"
    kdbench("compare", "ce", "soft", "--out", runs, "--metric", "clean,pgd-20", "--csv", files[0], "--latex", files[1])
    shown = capsys.readouterr().out
    assert "against ce, suite digits" in shown
    assert shown.count("(sigma=0.2)") >= 2
    assert "…" not in shown, "nothing is cut where it is piped"
    assert all(str(file) in shown and file.stat().st_size for file in files)


def test_json_is_the_table_and_nothing_else(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kdbench("compare", "ce", "soft sigma=0.2", "--from", runs, "--json", "--tasks", "clean")
    found = json.loads(capsys.readouterr().out)
    assert found["suite"] == "digits"
    assert [one["title"] for one in found["compared"]] == ["ce", "soft (sigma=0.2)"]
    [row] = found["rows"]
    assert (row["score"], row["seeds_first"], row["by_seed"]) == ("clean", [0, 1], True)


def test_a_plan_says_how_many_seeds_and_what_it_assumes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kdbench("compare", "ce", "soft sigma=0.2", "--from", runs, "--plan", "2", "--metric", "clean")
    shown = capsys.readouterr().out
    assert "seeds that show a difference of 2 points from ce" in shown
    assert "note: With 2 seeds the spread itself is hardly known" in shown


def test_a_figure_and_its_caption(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, numbers = tmp_path / "f.svg", tmp_path / "f.csv"
    kdbench("plot", "soft", "ce", "--x", "sigma", "--y", "pgd-20,clean", "--out", runs, "--to", file, "--to", numbers)
    assert "n = 200 (PGD-20 ε .031), 500 (clean) test images, 2 seeds" in capsys.readouterr().out
    assert len(numbers.read_text().splitlines()) == 1 + 2 * 3
    kdbench("plot", "soft", "--x", "sigma", "--y", "clean", "--out", runs, "--to", file, "--json")
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "ce", "sofd"], "no method, study or record named 'sofd' .did you mean 'soft'"),
        (["compare", "ce"], "ce: only ce to compare .name two methods"),
        (["compare", "ce", "soft", "--metric", "clena"], "no score named 'clena' .did you mean 'clean'"),
        (["compare", "ce", "soft", "--plan", "0"], "--plan is 0, expected points above 0"),
        (["compare", "ce", "soft", "--csv", "no/where.csv"], "no folder no"),
        (["plot", "soft", "--x", "sigma", "--y", "clean", "--to", "f.jpg"], "f.jpg: ends in '.jpg' .end it in .png"),
        (["plot", "soft", "--x", "sigma", "--y", "clean", "--method", "sof"], "no method with finished runs named"),
    ],
)
def test_a_mistake_is_one_line(runs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        kdbench(*arguments, "--out", runs)
