"""What tools/measure_methods.py keeps of a run, and what it takes for a step's cost."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench import KdbenchError
from kdbench.training.log import read_log
from tests.leaderboard.evidence import make
from tools import measure_methods


def test_a_run_in_short(tmp_path: Path) -> None:
    made = make(method="gce", seed=1, skill=0.7)
    row = measure_methods.summary(made.record, made.keep(tmp_path).parent)
    right = made.predictions["sym-40/noisy_label/correct"]
    assert row["accuracy"] == right.mean()
    bits = np.frombuffer(bytes.fromhex(row["correct"]), dtype=np.uint8)
    assert np.array_equal(np.unpackbits(bits, count=row["n"]), right)
    curve = [entry["test_accuracy"] for entry in made.log if entry["condition"] == "sym-40"]
    assert (row["peak"], curve[row["peak_epoch"] - 1], row["epochs"]) == (max(curve), max(curve), len(curve))
    assert (row["run_id"], row["status"]) == (made.record.run_id, "finished")


def test_a_failed_run_keeps_its_reason(tmp_path: Path) -> None:
    made = make(failed="condition sym-40: the training loss became nan in epoch 2")
    row = measure_methods.summary(made.record, tmp_path)
    assert (row["status"], row["error"]) == ("failed", made.record.error)
    assert "accuracy" not in row


def test_a_method_that_cannot_run_is_filed_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KdbenchError("network 'teacher' is not there", "name one")

    monkeypatch.setattr(measure_methods, "run", refuse)
    row = measure_methods.learn("kd", 0, tmp_path, "cpu")
    assert row["status"] == "failed"
    assert "teacher" in row["error"]


def test_results_are_added_to_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "methods.json"
    measure_methods.file_result(path, "learning", "ce", {"0": {"n": 1}})
    measure_methods.file_result(path, "learning", "ce", {"1": {"n": 2}})
    measure_methods.file_result(path, "cost", "kd", {"ratio": 2.0})
    measure_methods.file_result(path, "cost", "kd", {"ratio": 3.0})
    assert json.loads(path.read_text()) == {
        "learning": {"ce": {"0": {"n": 1}, "1": {"n": 2}}},
        "cost": {"kd": {"ratio": 3.0}},
    }


def test_what_is_filed_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, results = list[tuple[str, int]](), tmp_path / "methods.json"
    measure_methods.file_result(results, "learning", "kd", {"0": {"accuracy": 0.5}})

    def learn(method: str, seed: int, *_: object) -> dict[str, float]:
        asked.append((method, seed))
        return {"accuracy": 0.7}

    monkeypatch.setattr(measure_methods, "learn", learn)
    words = ["x", "--only", "learning", "--results", str(results), "--methods", "ce", "kd", "--seeds", "0", "1"]
    monkeypatch.setattr("sys.argv", words)
    measure_methods.main()
    assert asked == [("ce", 0), ("ce", 1), ("kd", 1)]
    monkeypatch.setattr("sys.argv", [*words, "--again"])
    measure_methods.main()
    assert asked[3:] == [("ce", 0), ("kd", 0), ("ce", 1), ("kd", 1)]
    assert measure_methods.filed(results, "learning", "kd") == {"0": {"accuracy": 0.7}, "1": {"accuracy": 0.7}}


def test_a_step_is_timed_after_the_first_epoch(tmp_path: Path) -> None:
    graph = measure_methods.cost_graph(tmp_path, torch.device("cpu"))
    found = measure_methods.seconds_per_step(graph, "ce")
    [log] = [read_log(path) for path in graph.folder.glob("ce-*") if path.is_dir()]
    assert len(log) == measure_methods.COST_RECIPE.epochs
    assert found == statistics.fmean(entry["seconds"] for entry in log[1:])


def test_every_method_can_be_measured_for_its_cost(tmp_path: Path) -> None:
    graph = measure_methods.cost_graph(tmp_path, torch.device("cpu"))
    for method in measure_methods.first_party():
        recipe = graph.student(measure_methods.CONDITION, method, {}, 0).recipe
        assert recipe.epochs == measure_methods.COST_RECIPE.epochs, f"{method}: the epochs timed are not the recipe's"
    assert measure_methods.first_party()[0] == "ce"
