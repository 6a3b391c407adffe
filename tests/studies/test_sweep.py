from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import read_record
from kdbench.running.options import RunOptions
from kdbench.running.runner import run
from kdbench.studies.executors import make_executor
from kdbench.studies.executors.local import LocalExecutor
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.process import INTERRUPTED
from kdbench.studies.study import make_study
from kdbench.studies.sweep import Standing, find_study, plan_study, work_off
from kdbench.studies.worker import work


def planned(suite: Path, out: Path, **values: Any) -> tuple[StudyFolder, StudyPlan]:
    study = make_study("a test", {"name": "s", "suite": str(suite), "methods": ["ce", "kd"], **values})
    plan = plan_study(study, RunOptions.make(out=out))
    folder = StudyFolder(out, "s")
    folder.write(plan)
    return folder, plan


class Here:
    """Leaves behind what a node would leave; of some it says that they failed."""

    def __init__(self, folder: StudyFolder, failing: Mapping[str, str] = {}) -> None:
        self.folder, self.failing = folder, failing
        self.started: list[str] = []
        self.running: list[str] = []

    def do(self, key: str) -> str:
        result = self.folder.out / self.folder.plan().node(key).path
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text('{"status": "finished"}')
        self.folder.forget_failure(key)
        return ""

    def free(self) -> int:
        return 1 - len(self.running)

    def start(self, key: str) -> None:
        self.started.append(key)
        self.running.append(key)

    def wait(self) -> Mapping[str, str]:
        key = self.running.pop()
        if key in self.failing:
            self.folder.failed(key, self.failing[key], "2026-01-01T00:00:00+00:00")
            return {key: self.failing[key]}
        return {key: self.do(key)}

    def stop(self) -> None:
        pass


class Real(Here):
    """Does the nodes, in this process."""

    def do(self, key: str) -> str:
        return work(self.folder, key)


def quiet(node: Node, event: str, word: str) -> None:
    """Nobody listens."""


def test_what_several_runs_need_is_a_node_and_what_one_needs_is_its_own_work(small: Path, tmp_path: Path) -> None:
    _, plan = planned(small, tmp_path / "runs", seeds=[0, 1])
    assert [node.title for node in plan.nodes] == [
        "ce seed 0",
        "teacher (clean)",
        "kd seed 0",
        "ce seed 1",
        "kd seed 1",
    ]
    teacher = plan.nodes[1]
    assert {node.title: node.needs for node in plan.nodes if node.needs} == {
        "kd seed 0": (teacher.key,), "kd seed 1": (teacher.key,),
    }  # fmt: skip
    _, alone = planned(small, tmp_path / "other", methods=["kd"])
    assert [node.title for node in alone.nodes] == ["kd seed 0"]


def test_a_training_that_two_runs_measure_differently_is_one_node(small: Path, tmp_path: Path) -> None:
    _, plan = planned(small, tmp_path / "runs", methods=["nrd"], parameters={"evaluated": ["student", "ema"]})
    titles = [node.title for node in plan.nodes]
    assert sum(title.startswith("student (clean) of nrd") for title in titles) == 1
    assert sum(node.kind == "run" for node in plan.nodes) == 2


def test_a_study_gives_the_records_of_single_runs(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", seeds=[0, 1], methods=["kd"])
    standing = work_off(folder, plan, Real(folder), quiet)
    assert set(standing.states.values()) == {"done"}
    node = plan.nodes[-1]
    alone = run(str(small), "kd", seed=1, out=tmp_path / "alone")
    ours = read_record(folder.out / node.path)
    assert (ours.spec, ours.scores) == (alone.spec, alone.scores)
    assert ours.hashes.students["clean"].sha256 == alone.hashes.students["clean"].sha256


def test_a_value_of_the_suite_makes_another_run(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"], parameters={"recipe.epochs": [1, 2]})
    assert [node.title for node in plan.nodes] == ["ce recipe.epochs=1 seed 0", "ce recipe.epochs=2 seed 0"]
    assert work(folder, plan.nodes[0].key) == ""
    record = read_record(folder.out / plan.nodes[0].path)
    assert record.spec.suite.changed == {"recipe.epochs": 1}
    assert f"run-{record.run_id}" == plan.nodes[0].key


def test_what_is_finished_is_not_done_again(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"])
    first = Here(folder)
    work_off(folder, plan, first, quiet)
    assert len(first.started) == 1
    folder, more = planned(small, tmp_path / "runs", methods=["ce"], seeds=[0, 1])
    second = Here(folder)
    work_off(folder, more, second, quiet)
    assert [more.node(key).title for key in second.started] == ["ce seed 1"]


def test_a_failed_node_blocks_what_needs_it_and_is_done_again_when_asked(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", seeds=[0, 1])
    teacher = next(node.key for node in plan.nodes if node.kind == "training")
    events: list[tuple[str, str]] = []
    failing = Here(folder, {teacher: "the disk\nis full"})
    standing = work_off(folder, plan, failing, lambda node, event, _: events.append((node.title, event)))
    assert standing.errors == {teacher: "the disk is full"}
    assert len(standing.blocked()) == 2
    assert ("kd seed 0", "blocked") in events
    assert standing.count("done", "run") == 2
    again = Here(folder)
    work_off(folder, plan, again, quiet)
    assert again.started == []
    standing = work_off(folder, plan, again, quiet, retry_failed=True)
    assert set(standing.states.values()) == {"done"}
    assert again.started[0] == teacher


def test_a_method_that_raises_leaves_a_failed_record(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"])
    node = plan.nodes[0]

    def broken(*_: object, **__: object) -> None:
        raise SystemExit(0)

    with monkeypatch.context() as patch:
        patch.setattr("kdbench.running.graph.fit", broken)
        assert work(folder, node.key) == "condition clean: SystemExit: 0"
    assert Standing.read(folder).errors == {node.key: "condition clean: SystemExit: 0"}
    assert read_record(folder.out / node.path).error == "condition clean: SystemExit: 0"
    assert work(folder, node.key) == ""
    assert Standing.read(folder).count("done") == 1


def test_deleted_networks_of_finished_runs_are_not_trained_again(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["kd"], seeds=[0, 1])
    work_off(folder, plan, Here(folder), quiet)
    teacher = next(node for node in plan.nodes if node.kind == "training")
    (folder.out / teacher.path).unlink()
    assert Standing.read(folder).schedule(retry_failed=False).left == 0


def test_a_source_that_changed_since_it_was_planned_is_said(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"])
    node = plan.nodes[0].model_copy(update={"key": "run-0123456789abcdef"})
    folder.write(plan.model_copy(update={"nodes": (node,)}))
    assert "was planned with another source" in work(folder, node.key)


def test_a_folder_of_another_suites_study(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"])
    other = plan.model_copy(update={"suite": plan.suite.model_copy(update={"name": "large"})})
    with pytest.raises(KdbenchError, match="belongs to a study of suite 'small', not 'large'"):
        folder.write(other)


def test_one_driver_at_a_time(small: Path, tmp_path: Path) -> None:
    folder, _ = planned(small, tmp_path / "runs", methods=["ce"])
    assert not folder.is_driven()
    with folder.driven():
        assert folder.is_driven()
        with pytest.raises(KdbenchError, match=f"is running already, in process {os.getpid()}"), folder.driven():
            pass
    assert not folder.is_driven()


def test_a_study_that_nobody_planned(small: Path, tmp_path: Path) -> None:
    planned(small, tmp_path / "runs", methods=["ce"])
    assert find_study(tmp_path / "runs", "somewhere/s.toml").name == "s"
    with pytest.raises(KdbenchError, match="no study 't' in .*there are: s"):
        find_study(tmp_path / "runs", "t")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ["cee"]}, "no method named 'cee'"),
        ({"parameters": {"kd": {"alfa": 1}}}, "no parameter named 'alfa'"),
        ({"executor": "locl"}, "no executor named 'locl' .did you mean 'local'"),
        ({"engine": {"local": {"worker": 2}}}, "no key of .engine.local. named 'worker' .did you mean 'workers'"),
        ({"conditions": ["noisy"]}, "no condition named 'noisy'"),
        ({"tasks": ["cleen"]}, "no task named 'cleen'"),
    ],
)
def test_mistakes_start_nothing(small: Path, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        planned(small, tmp_path / "runs", **values)
    assert not (tmp_path / "runs").exists()


def test_a_loss_that_is_none_is_told_before_anything_is_planned(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def each(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        """A loss for each image."""
        return (ctx.student(batch.images) - ctx.teacher(batch.images)).square().mean(1)

    plugins = load_plugins.__wrapped__()
    plugins.methods.add("each", kdbench.method("each", needs={"teacher": "teacher"})(each), "test")
    monkeypatch.setattr("kdbench.studies.sweep.load_plugins", lambda: plugins)
    with pytest.raises(KdbenchError, match="method 'each': the loss is not a differentiable scalar"):
        planned(small, tmp_path / "runs", methods=["ce", "each"])
    assert not (tmp_path / "runs").exists()


def test_a_worker_that_is_killed_in_mid_training_goes_on_and_loses_no_bit(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"], parameters={"recipe.epochs": 10})
    executor = make_executor(folder, plan.study, RunOptions.make(out=folder.out))
    assert isinstance(executor, LocalExecutor)
    executor.start(plan.nodes[0].key)
    (worker,) = executor._running
    while not list(folder.out.glob("small/trainings/*/resume.pt")):
        assert worker.process.poll() is None, folder.log(plan.nodes[0].key).read_text()
        time.sleep(0.02)
    worker.process.kill()
    assert executor.wait() == {plan.nodes[0].key: ""}
    assert executor._ends._deaths == {plan.nodes[0].key: 1}
    alone = run(str(small), "ce", changes={"recipe.epochs": 10}, out=tmp_path / "alone")
    assert read_record(folder.out / plan.nodes[0].path).scores == alone.scores


def test_workers_of_a_background_job_are_interrupted_too(small: Path, tmp_path: Path) -> None:
    """Its shell has it ignore SIGINT, and so would what it starts."""
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"], parameters={"recipe.epochs": 5000})
    executor = make_executor(folder, plan.study, RunOptions.make(out=folder.out))
    assert isinstance(executor, LocalExecutor)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        executor.start(plan.nodes[0].key)
    finally:
        signal.signal(signal.SIGINT, before)
    (worker,) = executor._running
    while not list(folder.out.glob("small/trainings/*/resume.pt")):
        assert worker.process.poll() is None, folder.log(plan.nodes[0].key).read_text()
        time.sleep(0.02)
    executor.stop()
    assert worker.process.returncode == INTERRUPTED


def test_a_device_is_numbered_where_its_name_has_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.devices.available_devices", lambda: [torch.device("cuda", 0), torch.device("cpu")])
    assert [RunOptions.make(device=name).numbered for name in ("cuda:0", "cuda", "auto", "cpu")] == [True, *[False] * 3]
