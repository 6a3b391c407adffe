"""What processes of their own for runs take: the same command beside an installed plugin that it does not need, with
them and without."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.running.isolated.state import SWITCH
from tests.distributions import write_distribution
from tools.reliability_page import ISOLATED

ROUNDS = 5
PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl."""
RUN = (
    "run", "--method", "ce", "--suite", "digits", "--condition", "clean", "--tasks", "clean",
    "--set", "recipe.epochs=1", "--set", "conditions.clean.train_size=200",
)  # fmt: skip
PLUGIN = '''
import kdbench

class Parity(kdbench.Task):
    """A task that nobody asks for."""

    name = "parity"

    def evaluate(self, predictor, data, ctx):
        return [ctx.share("even", data.test.labels % 2 == 0)]

@kdbench.hookimpl
def kdbench_register_tasks():
    return [Parity()]
'''


class Commands:
    """The command line beside the plugin."""

    def __init__(self, folder: Path) -> None:
        write_distribution(folder, "parity", {"parity": "parity_plugin"})
        (folder / "parity_plugin.py").write_text(PLUGIN)
        self.folder, self.path = folder, os.pathsep.join([str(folder), *filter(None, sys.path)])

    def __call__(self, *words: str, switch: str, out: str) -> dict[str, Any]:
        """One command; what it says."""
        command = [sys.executable, "-m", "kdbench", *words, "--device", "cpu", "--json", "--out", out]
        environment = {**os.environ, "PYTHONPATH": self.path, "OMP_NUM_THREADS": "1", SWITCH: switch}
        done = subprocess.run(command, capture_output=True, check=True, cwd=self.folder, env=environment)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def compare(tmp_path: Path, side_by_side: Callable[..., float]) -> Callable[..., None]:
    """One command in turn with and without, each time from the start."""
    command, outs = Commands(tmp_path), itertools.count()

    def measure(work: str, *words: str) -> None:
        spent: dict[str, list[float]] = {"": [], "off": []}

        def done(switch: str) -> None:
            spent[switch].append(cpu_seconds(lambda: command(*words, switch=switch, out=f"runs{next(outs)}")))
            more = sorted(apart - here for apart, here in zip(spent[""], spent["off"], strict=False))
            if more:
                facts.update({
                    "CPU seconds more, median": round(statistics.median(more), 2),
                    "lowest": round(more[0], 2),
                    "highest": round(more[-1], 2),
                    "CPU seconds without": round(statistics.median(spent["off"]), 2),
                })  # fmt: skip

        facts: dict[str, float | int | str] = {"threads of each": 1, "load before": round(os.getloadavg()[0], 1)}
        side_by_side(
            work, lambda: done(""), lambda: done("off"), peer_name="the same in the command's own process", n=1,
            unit="command", reach="at most 2 s more of the processor", device=torch.device("cpu"), rounds=ROUNDS,
            warm_up=False, facts=facts,
        )  # fmt: skip

    return measure


def cpu_seconds(work: Callable[[], object]) -> float:
    """What a command and all processes that it leaves take of the processor: unlike its time, no other work adds to
    it. Those that outlive it for a moment become children of this process, which waits for them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_run(compare: Callable[..., None]) -> None:
    """``ce`` on digits: one process for its training and its measurements."""
    compare("ce on 200 images of digits" + ISOLATED, *RUN)


def test_measuring_a_network(tmp_path: Path, compare: Callable[..., None]) -> None:
    """``evaluate`` of a checkpoint: the whole command is done by such a process."""
    folder = tmp_path / "trained"
    folder.mkdir()
    Commands(folder)(*RUN, switch="off", out="runs")
    (checkpoint,) = folder.glob("runs/digits/ce/*/checkpoint-clean.safetensors")
    words = ("evaluate", str(checkpoint), "--suite", "digits", "--tasks", "clean,calibration")
    compare("evaluate of a network on digits" + ISOLATED, *words)
