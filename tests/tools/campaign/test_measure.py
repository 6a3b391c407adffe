"""What the campaign measures itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult
from tools.campaign import measure
from tools.campaign.steps import HERE


def measured(what: str, tmp_path: Path) -> dict[str, dict[str, object]]:
    measure.main([what, "--suite", str(HERE / "tiny.toml"), "--device", "cpu", "--data", str(tmp_path),
                  "--runs", str(tmp_path / "runs"), "--rows", str(tmp_path / "rows.json"), "--tiny"])  # fmt: skip
    found: dict[str, dict[str, object]] = json.loads((tmp_path / "rows.json").read_text())
    return found


def test_all_tasks_are_compared(tmp_path: Path) -> None:
    rows = measured("agreement", tmp_path)
    assert list(rows) == ["clean", "calibration", "pgd", "transfer"]
    assert all(row["verdict"] == "agrees" and row["examples_that_differ"] == 0 for row in rows.values())


def test_a_gap_beyond_rounding_is_no_agreement() -> None:
    def result(values: dict[str, float], correct: list[bool]) -> TaskResult:
        scores = [
            Score(task="t", condition="clean", metric=name, value=value, n=2, ci_low=0, ci_high=9, unit="nats")
            for name, value in values.items()
        ]
        return TaskResult(scores, [], {"correct": torch.tensor(correct), "index": torch.arange(2)}, {}, 1.0)

    cpu = result({"accuracy": 0.5, "nll": 8.0}, [True, False])
    near = measure.compared(cpu, result({"accuracy": 0.505, "nll": 8.07}, [True, True]))
    assert near["verdict"] == "agrees" and near["examples_that_differ"] == 1 and near["examples"] == 2
    assert near["largest_gap"] == pytest.approx(0.07 / 8) and near["largest_gap_of"] == "nll {}"
    assert measure.compared(cpu, result({"accuracy": 0.52, "nll": 8.0}, [True, False]))["verdict"] == "differs"
    assert measure.compared(cpu, result({"accuracy": 0.5}, [True, False]))["verdict"] == "differs"


def test_the_pace_is_that_of_the_student_and_the_teacher(tmp_path: Path) -> None:
    rows = measured("throughput", tmp_path)
    assert list(rows) == ["wrn-10-1"]  # both, in the tiny suite; nothing is compiled on a CPU
    assert rows["wrn-10-1"]["images"] == 60 and float(str(rows["wrn-10-1"]["images_per_second"])) > 0
