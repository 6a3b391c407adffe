from __future__ import annotations

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.report import Report, write_report
from kdbench.report.parts import Missing, Part
from kdbench.report.write import _safely
from kdbench.results.record import Record
from tests.leaderboard.evidence import make
from tests.report.reading import score, with_files


@pytest.fixture(scope="module")
def report(trained: tuple[Record, Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report([trained[1]], tmp_path_factory.mktemp("report"), views=2)


def table(report: Report, key: str) -> list[dict[str, str]]:
    with (report.page.parent / f"{key}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_plot_is_there_as_png_svg_and_numbers(report: Report, trained: tuple[Record, Path]) -> None:
    keys = {path.stem for path in report.files} - {"images-1", "record-1", "log-1"}
    assert keys == {
        "scores", "steps", "reliability", "confusion", "softmax-magnitude", "curves", "polygon-clean", "polygon-sym-40",
        "memorisation-sym-40", "examples-1",
    }  # fmt: skip
    for key in keys:
        assert (report.page.parent / f"{key}.png").read_bytes().startswith(b"\x89PNG")
        xml.etree.ElementTree.parse(report.page.parent / f"{key}.svg")
        assert table(report, key)
    reasons = {part.title: part.reasons for part in report.missing}
    assert reasons == {
        "Accuracy under corruptions": ("no run measured corruptions",),
        "Transfer of adversarial examples": ("no run measured transfer",),
        "Numbers that methods log": ("the methods log no numbers of their own",),
        "Memorisation and label correction of other students": ("condition clean has no label noise",),
    }
    text = report.page.read_text(encoding="utf-8")
    assert text.count("<img ") == text.count('alt="')
    assert text.count("data:image/svg+xml") == len(keys)
    assert (report.page.parent / "record-1.json").read_bytes() == (trained[1] / "record.json").read_bytes()
    assert (report.page.parent / "log-1.jsonl").read_bytes() == (trained[1] / "log.jsonl").read_bytes()
    shown = table(report, "images-1")
    again = [row for row in shown if row["version_predicted"]]  # adversarial images, each with its difference
    assert again and text.count("data:image/png") == len(shown) + 2 * len(again)
    assert "condition clean has no label noise" in text


def test_the_numbers_are_those_of_the_run(report: Report, trained: tuple[Record, Path]) -> None:
    record, folder = trained
    accuracy = record.select("clean", "accuracy")[0]
    [row] = [row for row in table(report, "scores") if row["axis"] == "clean"]
    assert (float(row["value"]), float(row["ci_low"]), int(row["n"])) == (accuracy.value, accuracy.ci_low, accuracy.n)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [float(row["test_accuracy"]) for row in table(report, "curves")] == [one["test_accuracy"] for one in log]
    softmax = np.load(folder / "softmax-clean.npz")
    last = [row for row in table(report, "polygon-clean") if row["epoch"] == "3"]
    assert [int(row["true_class"]) for row in last] == softmax["labels"].tolist()
    angle = 2 * np.pi * np.arange(10) / 10
    assert [float(row["x"]) for row in last] == pytest.approx(softmax["softmax"][-1].astype(float) @ np.cos(angle))
    assert {row["views"] for row in table(report, "memorisation-sym-40")} == {"0", "1", "2"}


def test_the_command_line_writes_the_same_bytes(report: Report, trained: tuple[Record, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "kdbench", "report", "--json", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--views", "2", str(trained[1])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["page"] == str(tmp_path / "report.html")
    assert [Path(path).name for path in found["files"]] == [path.name for path in report.files]
    for path in (report.page, *report.files):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert "Accuracy under corruptions" in found["missing"]
    assert subprocess.run([*command, str(tmp_path)], capture_output=True, text=True).returncode == 2


def test_without_data_and_checkpoints_the_rest_is_made_and_the_reason_named(tmp_path: Path) -> None:
    found = write_report([make("ce").publish(tmp_path / "records")], tmp_path / "report")
    made = {path.stem for path in found.files}
    assert {"scores", "corruptions", "steps", "transfer", "reliability", "curves", "record-1", "log-1"} == made
    reasons = {part.title: " ".join(part.reasons) for part in found.missing}
    assert "softmax-clean.npz of ce is not beside the record" in reasons["Softmax vectors over epochs"]
    for title in ("Magnitude of softmax outputs", "Memorisation and label correction", "Examples"):
        assert "not those that ce was measured on" in reasons[title] or "not beside the record" in reasons[title]
    assert len(table(found, "corruptions")) == 95


def test_a_run_that_failed_is_reported_as_such(tmp_path: Path) -> None:
    path = make("ce", conditions=("clean",), failed="condition clean: the loss became nan in epoch 2").keep(tmp_path)
    found = write_report([path], tmp_path / "report")
    assert "the loss became nan in epoch 2" in found.page.read_text()
    assert "Scores" in {part.title for part in found.missing}


def test_a_part_that_fails_half_way_keeps_what_it_made() -> None:
    first = Missing("first", ("a",))

    def make_parts() -> Iterator[Part]:
        yield first
        raise KdbenchError("the checkpoint is damaged")

    assert list(_safely("Examples", make_parts)) == [first, Missing("Examples", ("the checkpoint is damaged",))]


HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202eltr $x_{$",
    "n" * 10_000,
    "\U0001f4a9\x07",
)


def test_untrusted_text_is_text(tmp_path: Path) -> None:
    paths = [make(name, params={name: name}, tasks=["clean", "calibration"]).keep(tmp_path) for name in HOSTILE]
    found = write_report(paths, tmp_path / "report")
    text = found.page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in text
    assert len(text) < 3_000_000
    for key in ("scores", "curves", "reliability"):
        assert len({row["run"] for row in table(found, key)}) == len(HOSTILE)
    assert len({row["method"] for row in table(found, "differences")}) == len(HOSTILE) - 1
    for path in found.files:
        if path.suffix == ".svg":
            xml.etree.ElementTree.parse(path)
            assert b"<script" not in path.read_bytes()


def test_untrusted_numbers_end_nothing(tmp_path: Path) -> None:
    """Extreme losses and epochs, thousands of logged numbers, and more corruptions than a page holds."""
    extremes: list[dict[str, Any]] = [
        {"condition": "clean", "epoch": epoch, "loss": loss, "test_accuracy": accuracy, "test_n": 10**9}
        for epoch, loss, accuracy in ((1, 1e308, -1e308), (2, -1e308, 1e308), (2**31 - 1, 0.0, 0.5))
    ]
    numbers = [extremes[0] | {f"number {i}": float(i) for i in range(3000)}]
    cells = [score(0.5, task="corruption", setting={"corruption": f"c{i}", "severity": 1}) for i in range(3000)]
    for name, log, scores in (("extremes", extremes, []), ("numbers", numbers, cells)):
        made = with_files(make(name, conditions=["clean"], tasks=["clean"]), log=log)
        path = made.changed(scores=[*made.record.scores, *scores]).keep(tmp_path / "runs")
        found = write_report([path], tmp_path / name)
        assert {"scores", "curves"} <= {file.stem for file in found.files}
        reasons = {part.title: " ".join(part.reasons) for part in found.missing}
        if name == "numbers":
            assert "inches of figure would be needed" in reasons["Numbers that methods log"]
            assert "inches of figure would be needed" in reasons["Accuracy under corruptions"]


def test_what_was_asked_wrongly_is_one_line(tmp_path: Path) -> None:
    path = make("ce").keep(tmp_path)
    with pytest.raises(KdbenchError, match="expected at least 1 each"):
        write_report([path], tmp_path / "report", views=0)
    with pytest.raises(KdbenchError, match="expected at least 1 each"):
        write_report([path], tmp_path / "report", images=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(KdbenchError, match="cannot write"):
        write_report([path], tmp_path / "file")
