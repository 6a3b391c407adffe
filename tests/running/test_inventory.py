"""What lies in a folder of runs is found, whatever state it is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.locks import locked
from kdbench.running.begun import BEGUN
from kdbench.running.inventory import inventory
from kdbench.running.runner import run
from kdbench.training.loop import TrainingRun
from tests.conftest import SMALL_SUITE
from tests.leaderboard.evidence import digits, make


def interrupt_after(epochs: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the training that saves so many epochs first."""
    save = TrainingRun.save

    def saving(self: TrainingRun, files: Any, history: list[dict[str, Any]]) -> None:
        save(self, files, history)
        if len(history) == epochs:
            raise KeyboardInterrupt

    patch.setattr(TrainingRun, "save", saving)


def test_finished_and_failed_runs_of_either_layout_with_what_was_changed(tmp_path: Path) -> None:
    late, early = "2026-03-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    suite = digits().model_copy(update={"changed": {"recipe.epochs": 30}})
    make(method="kd", params={"temperature": 8}, seed=3, finished=late).keep(tmp_path)
    make(method="ce", suite=suite, finished=early).publish(tmp_path)
    make(method="nrd", failed="condition clean: the loss became nan", finished=early).keep(tmp_path)
    first, second, last = inventory(tmp_path)
    assert {first.method, second.method} == {"ce", "nrd"} and last.method == "kd"
    ce, nrd = sorted((first, second), key=lambda one: one.method)
    assert (ce.state, ce.changed, ce.seed, ce.path.suffix) == ("finished", {"recipe.epochs": 30}, 0, ".json")
    assert (nrd.state, nrd.note) == ("failed", "condition clean: the loss became nan")
    assert (last.state, last.note, last.changed, last.seed) == ("finished", "", {"temperature": 8}, 3)
    assert [one.method for one in inventory(last.path)] == ["kd"]


def test_damaged_records_are_named_and_other_files_are_not(tmp_path: Path) -> None:
    path = make(method="kd").keep(tmp_path)
    path.write_text(path.read_text().replace('"finished"', '"finishd"', 1))
    (tmp_path / "notes.json").write_text('{"mine": 1}')
    published = make(method="ce").publish(tmp_path)
    published.write_text("{")
    ce, kd = sorted(inventory(tmp_path), key=lambda one: one.method)
    assert (ce.state, ce.suite, ce.method, ce.seed) == ("damaged", "digits", "ce", None)
    assert ce.note == "is not JSON: Expecting property name enclosed in double quotes (line 1)"
    assert (kd.state, kd.method) == ("damaged", "kd") and kd.note.startswith("broken record: status")
    with pytest.raises(KdbenchError, match="no folder .*nowhere"):
        inventory(tmp_path / "nowhere")


def test_an_interrupted_run_says_at_which_epoch_and_what_was_asked(tmp_path: Path) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL_SUITE)
    options: dict[str, Any] = {"out": tmp_path / "runs", "tasks": ["clean"], "changes": {"recipe.epochs": 3}, "seed": 5}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(2, patch)
        run(str(suite), "kd", params={"temperature": 8.0}, **options)
    [one] = inventory(tmp_path / "runs")
    assert (one.state, one.note) == ("interrupted", "at epoch 2 of 3 of clean/teacher")
    assert (one.suite, one.method, one.seed) == ("small", "kd", 5)
    assert one.changed == {"recipe.epochs": 3, "temperature": 8.0}
    with locked(one.path.parent / f"{one.path.name}.lease"):
        assert [found.state for found in inventory(one.path.parent)] == ["running"]
    (one.path / BEGUN).write_text("{")
    [unknown] = inventory(tmp_path / "runs")
    assert (unknown.state, unknown.note, unknown.changed) == ("interrupted", "what was asked for is not known", None)
    record = run(str(suite), "kd", params={"temperature": 8.0}, **options)
    [done] = inventory(tmp_path / "runs")
    assert (done.state, done.note, done.record) == ("finished", "", record)
    assert not (done.path / BEGUN).exists()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(1, patch)
        run(str(suite), "kd", params={"temperature": 8.0}, fresh=True, **options)
    [again] = inventory(tmp_path / "runs")
    assert (again.state, again.note) == ("finished", "running it afresh was interrupted")


def test_a_run_that_was_refused_is_none(tmp_path: Path) -> None:
    (tmp_path / "small/ce/0123456789abcdef").mkdir(parents=True)
    assert inventory(tmp_path) == []
