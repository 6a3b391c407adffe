from __future__ import annotations

import csv
import html
import json
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.errors import KdbenchError
from kdbench.report import Report, write_report
from kdbench.report.bench import Bench
from kdbench.report.runs import open_runs
from kdbench.results import comparison
from kdbench.results.record import Record
from kdbench.running.runner import record_path, run
from tests.conftest import TINY_SUITE
from tests.leaderboard.evidence import make


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    """A real run of the tiny suite: its record and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE)
    record = run(str(suite), "ce", tasks=["clean", "noisy_label", "calibration", "pgd"], out=folder / "runs")
    return record, record_path(record, folder / "runs").parent


@pytest.fixture(scope="module")
def report(trained: tuple[Record, Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report([trained[1]], tmp_path_factory.mktemp("report"), views=2)


def table(report: Report, key: str) -> list[dict[str, str]]:
    with (report.page.parent / f"{key}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_is_there_as_png_svg_and_numbers(report: Report) -> None:
    keys = {path.stem for path in report.files}
    assert keys == {
        "scores", "steps", "reliability", "softmax-magnitude", "curves", "polygon-clean", "polygon-sym-40",
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


def test_the_numbers_are_those_of_the_record(report: Report, trained: tuple[Record, Path]) -> None:
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


def test_label_correction_is_measured_against_labels_that_training_never_saw(
    report: Report, trained: tuple[Record, Path]
) -> None:
    record, folder = trained
    rows = table(report, "memorisation-sym-40")
    assert [(row["views"], row["images"]) for row in rows][:3] == [
        ("0", "clean-labelled"), ("0", "mislabelled"), ("0", "all"),
    ]  # fmt: skip
    assert {row["views"] for row in rows} == {"0", "1", "2"}
    assert [int(row["n"]) for row in rows[:3]] == [120, 80, 200]  # 40 % of 200 labels are wrong
    for i in range(0, len(rows), 3):
        clean, mislabelled, everything = (float(row["accuracy"]) for row in rows[i : i + 3])
        assert everything == pytest.approx(0.4 * mislabelled + 0.6 * clean)

    [one] = open_runs([folder])
    bench = Bench([one], kdbench.data.DataPlace.default(), torch.device("cpu"))
    labels = bench.training_labels(one, "sym-40")
    assert (labels.observed != labels.true).double().mean().item() == record.hashes.label_noise["sym-40"].realised
    model = kdbench.load_predictor(folder / "checkpoint-sym-40.safetensors")
    with torch.no_grad():
        right = model(labels.images.float() / 255).argmax(1) == labels.true
    assert float(rows[2]["accuracy"]) == right.double().mean().item()


def test_examples_show_what_the_student_answers(report: Report, trained: tuple[Record, Path]) -> None:
    rows = table(report, "examples-1")
    plain = [row for row in rows if row["variant"] == "as it is"]
    assert len(plain) == 6
    assert len({row["variant"] for row in rows}) == 7
    test = kdbench.data.digits.load(kdbench.data.DataPlace.default()).test
    index = kdbench.data.stratified_subset(test.labels, 6, 0)
    model = kdbench.load_predictor(trained[1] / "checkpoint-clean.safetensors")
    with torch.no_grad():
        confidence, predicted = model(test.images[index].float() / 255).softmax(1).max(1)
    assert [row["true_class"] for row in plain] == [test.class_names[label] for label in test.labels[index]]
    assert [row["predicted"] for row in plain] == [test.class_names[label] for label in predicted]
    assert [float(row["confidence"]) for row in plain] == pytest.approx(confidence.tolist(), abs=1e-4)


def test_the_page_is_whole_in_itself_and_runs_nothing(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in html.unescape(text)
    assert "<script" not in text
    assert "unsafe" not in text
    assert not re.search(r'(src|href)="(?!data:image/svg\+xml;base64,)', text)
    assert text.count("<img ") == len({path.stem for path in report.files})
    assert text.count('alt="') == text.count("<img ")
    assert "kdbench run --method ce" in text
    assert "condition clean has no label noise" in text


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
    assert {"scores", "corruptions", "steps", "transfer", "reliability", "curves"} == made
    reasons = {part.title: " ".join(part.reasons) for part in found.missing}
    assert "softmax-clean.npz of ce is not beside the record" in reasons["Softmax vectors over epochs"]
    for title in ("Magnitude of softmax outputs", "Memorisation and label correction", "Examples"):
        assert "not those that ce was measured on" in reasons[title] or "not beside its record" in reasons[title]
    assert len(table(found, "corruptions")) == 95


def test_a_run_that_failed_is_reported_as_such(tmp_path: Path) -> None:
    path = make("ce", conditions=("clean",), failed="condition clean: the loss became nan in epoch 2").keep(tmp_path)
    found = write_report([path], tmp_path / "report")
    assert "the loss became nan in epoch 2" in found.page.read_text()
    assert "Scores" in {part.title for part in found.missing}


def test_side_by_side_differences_are_paired(tmp_path: Path) -> None:
    skills = {"ce": 1.0, "gce": 0.8}
    made = {name: [make(name, seed=seed, skill=skill) for seed in range(2)] for name, skill in skills.items()}
    paths = [one.keep(tmp_path) for several in made.values() for one in several]
    found = write_report(paths, tmp_path / "report")
    [row] = [row for row in table(found, "differences") if row["axis"] == "clean"]
    samples = {
        name: comparison.shares(np.stack([one.predictions["clean/clean/correct"] for one in several]))
        for name, several in made.items()
    }
    expected = comparison.difference(samples["gce"], samples["ce"])
    assert (row["method"], row["than"], row["paired"]) == ("gce", "ce", "True")
    assert float(row["difference"]) == pytest.approx(expected.value)
    assert float(row["ci_low"]) == pytest.approx(expected.ci_low)
    assert float(row["p_value"]) == pytest.approx(expected.p_value)
    assert {row["run"] for row in table(found, "reliability")} == {run.label for run in open_runs(paths)}


HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202eltr $x_{$",
    "n" * 10_000,
    "\U0001f4a9\x07",
)


def test_a_strangers_text_is_text(tmp_path: Path) -> None:
    paths = [make(name, params={name: name}).keep(tmp_path) for name in HOSTILE]
    found = write_report(paths, tmp_path / "report")
    text = found.page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in text
    assert len(text) < 3_000_000
    for path in found.files:
        if path.suffix == ".svg":
            xml.etree.ElementTree.parse(path)
            assert b"<script" not in path.read_bytes()


def test_what_was_asked_wrongly_is_one_line(tmp_path: Path) -> None:
    path = make("ce").keep(tmp_path)
    with pytest.raises(KdbenchError, match="expected at least 1 each"):
        write_report([path], tmp_path / "report", views=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(KdbenchError, match="cannot write"):
        write_report([path], tmp_path / "file")
