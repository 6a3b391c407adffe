"""A node on a machine that has nothing of the study, without an engine."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from kdbench.noise.label_files import for_elsewhere
from kdbench.results.record import read_record
from kdbench.running.options import RunOptions
from kdbench.running.package import package_sha256
from kdbench.studies import remote
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.parcel import Files, lay
from kdbench.studies.remote import Job, Wanted, unfit, work_remotely
from kdbench.studies.study import make_study
from kdbench.studies.sweep import plan_study
from kdbench.studies.worker import work
from tests.conftest import SMALL_SUITE
from tests.running.test_given_labels import wrong_labels


def job_of(plan: StudyPlan, scratch: Path, key: str) -> tuple[Job, Files]:
    wanted = Wanted(package_sha256(), os.environ.get("KDBENCH_DATA_DIR", ""), str(scratch))
    job = Job(plan.study.name, key, plan.node(key).folders, "cpu", 1, 0.05, wanted)
    return job, {f"studies/{plan.study.name}/plan.json": plan.model_dump_json().encode()}


def test_a_killed_node_goes_on_elsewhere_from_its_last_epoch(small: Path, tmp_path: Path) -> None:
    study = make_study("a test", {"name": "s", "suite": str(small), "methods": ["ce"]})
    plan = plan_study(study, RunOptions.make(out=tmp_path / "runs"))
    node = plan.nodes[0]
    log = f"{next(name for name in node.folders if '/trainings/' in name)}/log.jsonl"
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    scratch.mkdir()
    job, files = job_of(plan, scratch, node.key)

    for news in work_remotely(job, files):
        lay(here, news.files, news.gone)
        if news.status is None and log in news.files:
            os.kill(worker_process(), signal.SIGKILL)
    assert news.status == -signal.SIGKILL
    epochs = (here / log).read_bytes()
    assert 0 < epochs.count(b"\n") <= 3
    left = {path.relative_to(here).as_posix(): path.read_bytes() for path in here.rglob("*") if path.is_file()}

    again = []
    for news in work_remotely(job, files, left):
        again.append(news)
        lay(here, news.files, news.gone)
        if news.status is not None:
            assert list(scratch.iterdir()) == []  # before the end is known, which may end this process
    assert news.status == 0, b"".join(news.log for news in again)
    assert (here / log).read_bytes().startswith(epochs)
    assert any(log.replace("log.jsonl", "resume.pt") in news.gone for news in again)
    alone = StudyFolder(tmp_path / "alone", "s")
    alone.write(plan)
    assert work(alone, node.key) == ""
    ours, theirs = read_record(here / node.path), read_record(alone.out / node.path)
    assert ours.scores == theirs.scores
    assert ours.hashes.students["clean"].sha256 == theirs.hashes.students["clean"].sha256


def test_a_users_labels_come_along(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.npy"
    np.save(file, wrong_labels(0))
    head, _ = SMALL_SUITE.split("[tasks.pgd]")
    own = '[conditions.own]\ntrain_size = 100\nnoise = { kind = "file", path = "own.npy" }\n\n[tasks.noisy_label]\n'
    small.write_text(head + own)
    study = make_study("a test", {"name": "s", "suite": str(small), "methods": ["ce"], "conditions": ["own"]})
    options = RunOptions.make(out=tmp_path / "runs")
    plan = plan_study(study, options)
    noises = [condition.noise for condition in plan.suite.conditions.values()]
    labels = for_elsewhere(noises, options.place)
    file.unlink()
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache of the machine"))
    (tmp_path / "scratch").mkdir()
    job, files = job_of(plan, tmp_path / "scratch", plan.nodes[-1].key)
    *_, last = work_remotely(dataclasses.replace(job, labels=labels), files)
    assert last.status == 0, last.log
    *_, last = work_remotely(dataclasses.replace(job, labels={}), files)
    assert last.status == 0, "it keeps them for the next node"


def worker_process() -> int:
    """The one of this process's children that does a node."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    [found] = [one for one in children if remote.__name__ in Path(f"/proc/{one}/cmdline").read_text()]
    return int(found)


def test_what_killed_tasks_left_on_a_machine_is_removed(tmp_path: Path) -> None:
    wanted = Wanted("", "", str(tmp_path))
    with remote._scratch(wanted) as running, remote._scratch(wanted) as left:
        dead = left.with_name(left.name + "x")
        dead.mkdir()
        (dead / remote.LOCK).touch()
        with remote._scratch(wanted) as new:
            assert sorted(tmp_path.iterdir()) == sorted([running, left, new])
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_lacks_something_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_DATA_DIR", raising=False)
    fit = Wanted(package_sha256(), str(tmp_path), None)
    assert unfit(fit) == ""
    lacking = dataclasses.replace(fit, data_dir="/none")
    assert "has no folder /none of image sets and no KDBENCH_DATA_DIR" in unfit(lacking)
    assert "has another kdbench" in unfit(dataclasses.replace(fit, kdbench="0"))
    assert "can't write to the scratch folder /none" in unfit(dataclasses.replace(fit, scratch="/none"))
    monkeypatch.setenv("KDBENCH_DATA_DIR", "/mine")
    assert [remote._data_dir(one) for one in (lacking, fit)] == ["/mine", str(tmp_path)]
    assert unfit(lacking) == ""
    job = Job("s", "run-0", (), "cpu", 1, 1.0, dataclasses.replace(fit, kdbench="0"))
    assert [news.unfit != "" for news in work_remotely(job)] == [True]
