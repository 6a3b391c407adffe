"""How the scheduler of studies grows: a simulated engine of a thousand workers, without any training."""

from __future__ import annotations

import heapq
import itertools
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.study import make_study
from kdbench.studies.sweep import work_off
from kdbench.suites import load_suite
from tests.benchmarks.conftest import machine

WORKERS = 1000
SHARED, EACH = 100, 999
"""Shared networks, and the runs that need each of them."""


class Simulated:
    """Workers whose nodes take made-up seconds, of which none passes."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan) -> None:
        self._left, self.now = WORKERS, 0.0
        self._ends: list[tuple[float, str]] = []
        self._seconds = random.Random(0)
        self.busy = 0.0

    def workers(self) -> int:
        return WORKERS

    def free(self) -> int:
        return self._left

    def start(self, key: str) -> None:
        self._left -= 1
        seconds = self._seconds.uniform(60, 600)
        self.busy += seconds
        heapq.heappush(self._ends, (self.now + seconds, key))

    def wait(self) -> Mapping[str, str]:
        self.now, key = heapq.heappop(self._ends)
        self._left += 1
        return {key: ""}

    def stop(self) -> None:
        pass


def made_up() -> StudyPlan:
    """The plan of 100,000 nodes: the networks of a suite's conditions, and runs that need one each."""
    nodes = []
    for shared in range(SHARED):
        network = node(f"training-{shared:016x}", "training", (), shared)
        nodes.append(network)
        nodes += [node(f"run-{shared:08x}{one:08x}", "run", (network.key,), one) for one in range(EACH)]
    suite = load_suite("digits")
    study = make_study("the benchmark", {"name": "growth", "methods": ["kd"], "seeds": f"0-{EACH - 1}"})
    return StudyPlan(study=study, suite=suite, nodes=tuple(nodes))


def node(key: str, kind: Any, needs: tuple[str, ...], seed: int) -> Node:
    return Node(
        key=key, kind=kind, method="kd", params={}, seed=seed, condition=None, role=None, path=f"digits/{key}.json",
        needs=needs,
    )  # fmt: skip


def test_a_study_of_100_000_nodes(tmp_path: Path, results: dict[str, Any]) -> None:
    """Writing the plan, reading it, and all that the scheduler does while a thousand workers work it off."""
    plan = made_up()
    folder = StudyFolder(tmp_path, "growth")
    clock = time.perf_counter()
    folder.write(plan)
    written = time.perf_counter() - clock
    clock = time.perf_counter()
    read = folder.plan()
    opened = time.perf_counter() - clock
    assert read == plan
    engine = Simulated(folder, plan)
    ended: list[str] = []
    clock = time.perf_counter()
    work_off(folder, plan, engine, lambda node, event, _: ended.append(node.key) if event == "done" else None)
    scheduled = time.perf_counter() - clock
    assert len(ended) == len(set(ended)) == len(plan.nodes)
    least = engine.busy / WORKERS
    assert engine.now < 1.05 * least + 2 * 600, "workers waited though there was work"
    tracemalloc.start()
    work_off(folder, plan, Simulated(folder, plan), lambda *_: None)
    mebibytes = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    results.setdefault("studies", {})[f"{WORKERS:,} workers, {len(plan.nodes):,} nodes"] = {
        "write_seconds": round(written, 2),
        "read_seconds": round(opened, 2),
        "schedule_seconds": round(scheduled, 2),
        "mebibytes": round(mebibytes, 1),
        "plan_mebibytes": round((folder.path / "plan.json").stat().st_size / 2**20, 1),
        "makespan_over_least": round(engine.now / least, 3),
        **machine(torch.device("cpu")),
    }


def test_two_workers_against_one(tmp_path: Path, side_by_side: Callable[..., float]) -> None:
    """A study of real trainings of half a minute, each with one thread: the whole command, its planning and starts of
    workers too. Three rounds of two trainings at once and one after the other take about five minutes."""
    seeds, folders = 2, itertools.count()

    def sweep(workers: int) -> None:
        command = [sys.executable, "-m", "kdbench", "sweep", "--name", "workers", "--suite", "digits", "--method", "ce"]
        command += ["--seed", f"0-{seeds - 1}", "--condition", "clean", "--tasks", "clean", "--device", "cpu"]
        command += ["--workers", str(workers), "--out", str(tmp_path / str(next(folders)))]
        subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)

    side_by_side(
        "study of two trainings on digits, two workers", lambda: sweep(2), lambda: sweep(1), peer_name="one worker",
        n=seeds, unit="trainings", reach="at least 2x", device=torch.device("cpu"), warm_up=False,
    )  # fmt: skip
