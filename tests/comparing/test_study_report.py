"""The report of a study: the figures of ``kdbench plot`` for each parameter that varies."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from kdbench import cli
from kdbench.comparing import contestants
from kdbench.comparing.contestants import find
from kdbench.comparing.names import choose
from kdbench.comparing.series import make_series
from kdbench.comparing.study_report import write_study_report
from kdbench.errors import KdbenchError
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.store import read_evidence
from tests.comparing.conftest import Keep
from tests.leaderboard.evidence import Made, make


def study() -> list[Made]:
    """Two methods over three values of sigma with two seeds, and one that has none."""
    some = [
        make(name, seed=seed, params={"sigma": sigma}, tasks=["clean", "calibration"], skill=1 + sigma)
        for name in ("one", "other")
        for seed in (0, 1)
        for sigma in (0.1, 0.2, 0.4)
    ]
    return [*some, *(make("ce", seed=seed, tasks=["clean", "calibration"]) for seed in (0, 1))]


def test_a_study_has_its_scores_against_what_varies(runs: Path, tmp_path: Path, keep_study: Keep) -> None:
    keep_study(study())
    found = write_study_report("s", runs, tmp_path / "report")
    assert {file.name for file in found.files} == {f"against-1-1.{kind}" for kind in ("png", "svg", "csv")}
    assert not found.missing
    page = found.page.read_text(encoding="utf-8")
    assert "Study s on digits" in page and "Scores against sigma" in page
    field = find(["s"], runs)
    series = make_series(field.contestants, choose(field.suite, field.runs), "sigma")
    with (tmp_path / "report/against-1-1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(line.title, panel.axis.title, one.value, one.ci_low, one.ci_high)
                for panel in series.panels for line in panel.lines for _, one in line.points]  # fmt: skip
    assert [(row["line"], row["score"], *(float(row[key]) for key in ("value", "ci_low", "ci_high")))
            for row in rows] == expected  # fmt: skip
    assert {row["line"] for row in rows} == {"one", "other", "ce (no sigma)"}


def test_each_record_is_read_once_however_much_varies(
    runs: Path, tmp_path: Path, keep_study: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_study([
        make("one", params={"sigma": sigma, "alpha": alpha}, tasks=["clean"])
        for sigma in (0.1, 0.2)
        for alpha in (0.5, 0.9)
    ])  # fmt: skip
    read: list[Path] = []

    def counted(path: Path) -> Evidence | Excluded:
        read.append(path)
        return read_evidence(path)

    monkeypatch.setattr(contestants, "read_evidence", counted)
    found = write_study_report("s", runs, tmp_path / "report")
    assert {file.stem for file in found.files} == {"against-1-1", "against-2-1"}
    assert len(read) == len(set(read)) == 4


def test_a_study_in_which_nothing_varies_says_so(runs: Path, tmp_path: Path, keep_study: Keep) -> None:
    keep_study([make("ce", tasks=["clean"]), make("kd", tasks=["clean"])])
    found = write_study_report("s", runs, tmp_path / "report")
    assert [one.reasons for one in found.missing] == [("no parameter has two values in this study",)]
    assert "no parameter has two values" in found.page.read_text(encoding="utf-8")


def test_a_study_without_finished_runs_is_one_line(runs: Path, tmp_path: Path, keep_study: Keep) -> None:
    keep_study([], [make("ce", tasks=["clean"])])
    with pytest.raises(KdbenchError, match="has no finished run of 1"):
        write_study_report("s", runs, tmp_path / "report")


def test_the_command_takes_a_study_by_its_name(
    runs: Path, tmp_path: Path, keep_study: Keep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_study(study())
    command = ["kdbench", "report", "s", "--from", str(runs), "--out", str(tmp_path / "page")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out.strip() == str(tmp_path / "page/report.html")
