"""How many nodes share a GPU: by earlier records and its free memory. The GPUs are made up; the processes are not."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.data import DataPlace
from kdbench.running.options import RunOptions
from kdbench.studies.executors import local
from kdbench.studies.executors.local import LocalExecutor
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.schedule import Queue
from kdbench.studies.sharing import Peaks, fitting
from kdbench.studies.study import make_study
from kdbench.studies.sweep import plan_study
from tests.leaderboard.evidence import make

GIB = 2**30


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with names 4, 5, 6 and 7, with 40, 40, 10 and 80 GiB free, and 64 cores."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    free = (40 * GIB, 40 * GIB, 10 * GIB, 80 * GIB)
    monkeypatch.setattr(local, "memory", lambda device: (free[device.index], 80 * GIB))
    monkeypatch.setattr(local, "cores", lambda: 64)


def keep(runs: Path, peak: int | None, *, method: str = "ce", seed: int = 0, spent: float = 100.0) -> None:
    """A record of a run on a GPU, whose student was trained in ``spent`` of its 100 seconds."""
    made = make(method=method, seed=seed, conditions=["clean"])
    hashes, provenance = made.record.hashes, made.record.provenance
    student = hashes.students["clean"].model_copy(update={"seconds": 100.0})
    networks = {"clean/teacher": student} if method == "kd" else {}
    changed = {
        "peak_device_memory_bytes": peak,
        "device": "cuda",
        "seconds": {f"train/clean/{name}": spent for name in ("student", "teacher")},
    }
    made.changed(
        hashes=hashes.model_copy(update={"students": {"clean": student}, "networks": networks}),
        provenance=provenance.model_copy(update=changed),
    ).keep(runs)


def planned(runs: Path, **values: Any) -> tuple[StudyFolder, StudyPlan]:
    asked = {"name": "s", "suite": "digits", "methods": ["ce"], "conditions": ["clean"], "tasks": ["clean"]}
    plan = plan_study(
        make_study("a test", {**asked, "seeds": "1-3", **values}), RunOptions.make(out=runs, device="cpu")
    )
    folder = StudyFolder(runs, "s")
    folder.write(plan)
    return folder, plan


def executor(folder: StudyFolder, plan: StudyPlan, device: str = "cuda:0", numbered: bool = False) -> LocalExecutor:
    options = RunOptions(DataPlace.default(), torch.device(device), folder.out, numbered=numbered)
    return local.make(folder, plan.study, options)


def shares(engine: LocalExecutor) -> dict[str, int]:
    """Name of a GPU to its workers."""
    return dict(Counter(gpu.name for gpu in engine._places if gpu is not None))


def test_a_gpu_takes_what_its_free_memory_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(tmp_path, 4 * GIB)
    keep(tmp_path, 6 * GIB, seed=7)
    folder, plan = planned(tmp_path)
    engine = executor(folder, plan)
    assert shares(engine) == {"4": 3, "5": 3, "6": 1, "7": 7}  # of 1.5 * 6 + 1 GiB in nine tenths of what is free
    assert engine.workers() == engine.free() == 14
    assert [gpu.name for gpu in engine._places[:7] if gpu] == ["4", "5", "6", "7", "4", "5", "7"]
    assert "up to 7 nodes share a GPU: by earlier records each takes 6 GiB at most" in caplog.text


@pytest.mark.parametrize(("peak", "spent"), [(None, 100.0), (GIB, 1.0)])
def test_one_each_where_no_record_says_what_a_training_takes(tmp_path: Path, peak: int | None, spent: float) -> None:
    """A student that was found, or gone on with, was not trained in what the record says."""
    keep(tmp_path, peak, spent=spent)
    assert shares(executor(*planned(tmp_path))) == {"4": 1, "5": 1, "6": 1, "7": 1}


def test_one_each_where_a_method_or_a_shared_network_is_unknown(tmp_path: Path) -> None:
    keep(tmp_path, GIB)
    both = {"methods": ["ce", "kd"]}
    assert max(shares(executor(*planned(tmp_path, **both))).values()) == 1
    keep(tmp_path, GIB, method="kd")
    folder, plan = planned(tmp_path, **both)
    assert "training" in {node.kind for node in plan.nodes}
    assert max(shares(executor(folder, plan)).values()) > 1
    changed = planned(tmp_path, parameters={"recipe.batch_size": 512})
    assert max(shares(executor(*changed)).values()) == 1
    assert Peaks.of_folder(tmp_path, plan.suite, "xpu").most(plan, plan.nodes) is None


def test_no_more_than_there_are_cores_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, GIB // 4)
    monkeypatch.setattr(local, "cores", lambda: 6)
    assert shares(executor(*planned(tmp_path))) == {"4": 2, "5": 2, "6": 1, "7": 1}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"per_gpu": 2}, {"4": 2, "5": 2, "6": 2, "7": 2}),
        ({"workers": 2}, {"4": 1, "5": 1}),
        ({"workers": 5, "per_gpu": 1}, {"4": 2, "5": 1, "6": 1, "7": 1}),
    ],
)
def test_what_a_study_says_counts(tmp_path: Path, settings: dict[str, int], found: dict[str, int]) -> None:
    keep(tmp_path, GIB)
    assert shares(executor(*planned(tmp_path, engine={"local": settings}))) == found


def test_each_worker_sees_its_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that follows another."""
    code = "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setattr(local, "worker_command", lambda out, study, key, *_: [sys.executable, "-c", code, seen / key])
    keep(tmp_path, 6 * GIB)
    engine = executor(*planned(tmp_path, engine={"local": {"workers": 6}}))
    for number in range(6):
        engine.start(f"node-{number}")
    assert engine.free() == 0
    ended = dict(engine.wait())
    engine.start("another")
    while len(ended) < 7:
        ended |= engine.wait()
    assert set(ended.values()) == {""}
    found = {path.name: path.read_text() for path in seen.iterdir()}
    assert [found[f"node-{number}"] for number in range(6)] == ["4", "5", "6", "7", "4", "5"]
    assert found["another"] in ("4", "5", "6", "7")


@pytest.mark.parametrize(
    ("device", "numbered", "names"),
    [("cuda:2", True, {"6": 1}), ("mps", False, {"": 1}), ("xpu:0", False, {"": 1}), ("cpu", False, {})],
)
def test_other_devices(tmp_path: Path, device: str, numbered: bool, names: dict[str, int]) -> None:
    """One that is named by its number is the only one; what has no such variable is one."""
    engine = executor(*planned(tmp_path), device, numbered)
    assert shares(engine) == names
    assert engine.workers() == (1 if names else 64)


def test_it_is_decided_when_the_study_has_its_plan(tmp_path: Path) -> None:
    """A sweep makes its engine, and asks whether it is a queue, before the plan is written."""
    keep(tmp_path, 6 * GIB)
    folder, plan = planned(tmp_path)
    (folder.path / "plan.json").unlink()
    engine = executor(folder, plan)
    assert not isinstance(engine, Queue)
    folder.write(plan)
    assert engine.workers() == 14


def test_a_gpu_that_is_full_takes_one() -> None:
    assert fitting(0, GIB) == 1
