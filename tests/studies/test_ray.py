"""A real Ray cluster of two machines, without a common disk, on this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.results.record import Record, read_record
from kdbench.running.options import RunOptions
from kdbench.studies import parcel
from kdbench.studies.executors import ray as engine
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.study import make_study
from kdbench.studies.sweep import plan_study
from kdbench.studies.worker import work
from tests.studies.conftest import disturbed

PATIENCE = 900
"""Seconds for something to happen, on a busy machine."""

EXTRA = """
[conditions.fewer]
train_size = 80

[conditions.few]
train_size = 60
"""

STUDY = """
suite = "small.toml"
methods = ["kd", "ce"]
executor = "ray"

[parameters.kd]
temperature = [1.0, 2.0, 1e-40]

[engine.ray]
keep_seconds = 0.2
"""
"""Three shared teachers, three runs with three students each, and one that always fails."""


def wait_for(what: Callable[[], Any]) -> Any:
    """Its value, once it has one."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a new machine half a minute to start, which is short where others compute."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return start()
        except Exception as error:
            if "timed out" not in str(error) or time.monotonic() > end:
                raise


class Cluster:
    """Two machines with a core each. What one has on its disk the other has not."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        head = self._machine("one") | {"include_dashboard": False}
        self._cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self._second = self._join("two")
        self.address = self._cluster.address

    def _machine(self, name: str) -> dict[str, Any]:
        disk = self.folder / name
        disk.mkdir()
        return {"num_cpus": 1, "env_vars": {"TMPDIR": str(disk)}}

    def lose_the_second(self) -> None:
        """Another one comes instead."""
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._join("three")

    def _join(self, name: str) -> Any:
        machine = self._machine(name)
        return patiently(lambda: self._cluster.add_node(**machine))

    def workers(self, machine: str = "") -> dict[int, str]:
        """Process to key of the nodes that a machine does now, or both do."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "kdbench.studies.remote" in words and words[3].startswith(str(self.folder / machine)):
                found[int(entry.name)] = words[5]
        return found

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # it is 15 otherwise, and a busy machine has no time for that
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = Cluster(tmp_path)
        yield started
        started.stop()


class Driver:
    """``kdbench sweep`` in a process of its own."""

    def __init__(self, folder: Path, address: str, log: Path) -> None:
        self.log = log
        command = [
            sys.executable,
            "-m",
            "kdbench",
            "sweep",
            "study.toml",
            "--address",
            address,
            "--out",
            "runs",
            "--json",
        ]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=file)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> tuple[int, dict[str, Any]]:
        """Exit status and what it printed."""
        printed, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode in (0, 1), self.log.read_text()
        return self.process.returncode, json.loads(printed)


def parent(process: int) -> int:
    """Who started it."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def students(folder: StudyFolder, node: Node) -> list[Path]:
    """Folders of the trainings that a run does itself, as far as it has come."""
    return [folder.out / name for name in node.folders if "/trainings/" in name and (folder.out / name).exists()]


def begun(folder: StudyFolder, node: Node) -> dict[Path, list[str]]:
    """Of trainings that have not ended, their epochs so far, as the folder has them."""
    logs = {one / "log.jsonl": one for one in students(folder, node) if not (one / "checkpoint.safetensors").exists()}
    return {log: log.read_text().splitlines() for log in logs if log.exists()}


def facts(record: Record) -> Any:
    """What must be the same to the last bit."""
    networks = {**record.hashes.students, **record.hashes.networks}
    return record.spec, record.scores, record.checks, {name: one.sha256 for name, one in networks.items()}


@disturbed
def test_two_machines_lose_nothing_train_nothing_twice_and_no_bit_differs(
    small: Path, tmp_path: Path, cluster: Cluster
) -> None:
    small.write_text(small.read_text() + EXTRA)
    (tmp_path / "study.toml").write_text(STUDY)
    folder = StudyFolder(tmp_path / "runs", "study")
    with Driver(tmp_path, cluster.address, tmp_path / "first.txt"):
        plan = wait_for(lambda: (folder.path / "plan.json").exists() and folder.plan())
        assert sum(node.kind == "training" for node in plan.nodes) == 3
        assert sum(len(node.folders) for node in plan.nodes) - 4 == 3 + 4 * 3  # trainings; a run has a folder more
        # Ray's worker is killed in mid-training, and its process ends with it; then the driver.
        process, seen = wait_for(lambda: in_training(folder, plan, cluster.workers()))
        os.kill(parent(process), signal.SIGKILL)
        wait_for(lambda: process not in cluster.workers())
        _, more = wait_for(lambda: in_training(folder, plan, cluster.workers()))
    wait_for(lambda: not cluster.workers())
    seen |= more
    done = {path: path.stat().st_mtime_ns for path in folder.out.rglob("checkpoint.safetensors")}

    # It is started again, a machine is lost with what it does, and another one joins.
    with Driver(tmp_path, cluster.address, tmp_path / "second.txt") as second:
        _, more = wait_for(lambda: in_training(folder, plan, cluster.workers("two")))
        cluster.lose_the_second()
        status, answer = second.answer()

    assert status == 1
    states = {one["title"]: one["state"] for one in answer["nodes"]}
    assert states.pop("kd temperature=1e-40 seed 0") == "failed"
    assert list(states.values()) == ["done"] * 6
    for log, epochs in [*seen.items(), *more.items()]:
        assert log.read_text().splitlines()[: len(epochs)] == epochs  # with the seconds of each: they went on
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert not list(folder.out.rglob("resume.pt"))
    assert len(list((tmp_path / "one").glob("kdbench-*"))) == 0
    _check_bits(tmp_path, folder, plan)


def in_training(
    folder: StudyFolder, plan: StudyPlan, workers: Mapping[int, str]
) -> tuple[int, dict[Path, list[str]]] | None:
    """A worker of a run that trains, and the epochs of its trainings so far."""
    for process, key in workers.items():
        node = plan.node(key)
        if node.kind == "run" and (kept := begun(folder, node)):
            return process, kept
    return None


def _check_bits(tmp_path: Path, folder: StudyFolder, plan: StudyPlan) -> None:
    """Against the same nodes in this process."""
    alone = StudyFolder(tmp_path / "alone", folder.name)
    alone.write(plan)
    for node in sorted(plan.nodes, key=lambda node: node.kind, reverse=True):
        if node.title == "kd temperature=1e-40 seed 0":
            assert folder.failure(node.key) == work(alone, node.key)
            continue
        assert work(alone, node.key) == ""
        if node.kind == "run":
            assert facts(read_record(folder.out / node.path)) == facts(read_record(alone.out / node.path))


@disturbed
def test_a_parcel_that_comes_damaged_is_not_kept_and_its_node_goes_on(
    small: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunOptions.make(out=tmp_path / "runs", device="cpu")
    values = {"name": "s", "suite": str(small), "methods": ["ce"], "parameters": {"recipe.epochs": 30}}
    ray = {"executor": "ray", "engine": {"ray": {"address": cluster.address, "keep_seconds": 0.2}}}
    plan = plan_study(make_study("a test", {**values, **ray}), options)
    folder, [node] = StudyFolder(options.out, "s"), plan.nodes
    folder.write(plan)
    damaged: list[str] = []

    def lay(root: Path, files: Mapping[str, bytes], gone: Sequence[str]) -> None:
        state = next((name for name in files if name.endswith("resume.pt")), None)
        if state is None or damaged or begun(folder, node) == {}:  # not the first: there is something to go on from
            parcel.lay(root, files, gone)
            return
        damaged.append(state)
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        try:
            parcel.lay(root, {**files, state: files[state][:-1]}, gone)
        finally:
            assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    monkeypatch.setattr(engine, "lay", lay)
    executor = engine.make(folder, plan.study, options)
    ended: dict[str, str] = {}
    try:
        executor.start(node.key)
        wait_for(lambda: ended.update(executor.wait()) or ended)
    finally:
        executor.stop()
    assert ended == {node.key: ""}
    assert executor._ends._deaths == {node.key: 1}
    assert folder.log(node.key).read_text().count(f"{damaged[0]} is not the file that was sent") == 1
    _check_bits(tmp_path, folder, plan)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adress": "auto"}, r"no key of \[engine.ray\] named 'adress' .did you mean 'address'"),
        ({"address": "ray://head:10001"}, "address is 'ray://head:10001' .write auto or HOST:PORT"),
        ({"address": "head"}, "address is 'head' .write auto or HOST:PORT"),
        ({"gpus": -1}, r"\[engine.ray\]: gpus"),
        ({"keep_seconds": 0}, r"\[engine.ray\]: keep_seconds"),
    ],
)
def test_settings_that_it_has_not(settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.packages.installed", lambda module: True)
    with pytest.raises(KdbenchError, match=message):
        engine.check_settings(settings)


def test_without_its_package_it_says_what_to_install(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.packages.installed", lambda module: False)
    study = make_study("a test", {"name": "s", "suite": str(small), "methods": ["ce"], "executor": "ray"})
    with pytest.raises(KdbenchError, match=r"executor 'ray' needs the package ray.*pip install 'kdbench\[ray\]'"):
        plan_study(study, RunOptions.make(out=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "no Ray cluster at '127.0.0.1:[0-9]+': Connection refused"),
        (b"SSH-2.0-OpenSSH", "what listens at '127.0.0.1:[0-9]+' is no Ray cluster"),
        (b"", "what listens at '127.0.0.1:[0-9]+' is no Ray cluster"),
        (b"\0\0\x06\x04\0\0\0\0\0", ""),
    ],
)
def test_an_address_is_tried_before_ray_tries_it_for_minutes(answer: bytes | None, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if answer is None:
            server.close()
        else:
            threading.Thread(target=greet, args=(server, answer)).start()
        with pytest.raises(KdbenchError, match=message) if message else contextlib.nullcontext():
            engine.check_listening(address)


def greet(server: socket.socket, answer: bytes) -> None:
    """Take one connection, and say something."""
    connection, _ = server.accept()
    with connection:
        connection.recv(33)
        connection.sendall(answer)
