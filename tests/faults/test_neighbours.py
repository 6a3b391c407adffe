"""Plugins that harm whatever shares a process with them, installed or trained: what others train is the same to the
bit, and a method whose process dies is a failed record."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench.running.runner import run
from tests.faults.conftest import ALL, SUITE, Row, share
from tests.faults.neighbours import HARMS, UNSEEN, summary


class Neighbours:
    """The process that has them installed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "site").mkdir()
        self.suite = place / "small.toml"
        self.suite.write_text(SUITE.replace("epochs = 2", "epochs = 1"))
        environment = {name: value for name, value in os.environ.items() if name != "KDBENCH_ISOLATION"}
        self.words = place / "words.txt"
        command = [sys.executable, "-m", "tests.faults.neighbours", str(place / "site")]
        with self.words.open("w") as words:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True, env=environment,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
            )  # fmt: skip
        self.left_out = self.hear()

    def say(self, method: str, out: Path, **more: Any) -> None:
        """Begin a run."""
        assert self.process.stdin is not None
        (self.place / "site/pid").unlink(missing_ok=True)  # of an earlier run
        job = {"suite": str(self.suite), "method": method, "out": str(out), **more}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """What came of it."""
        assert self.process.stdout is not None
        ready = select.select([self.process.stdout], [], [], 600)[0]
        line = self.process.stdout.readline() if ready else ""
        assert line, self.words.read_text()
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, method: str, out: Path, **more: Any) -> dict[str, Any]:
        """One run."""
        self.say(method, out, **more)
        return self.hear()

    def training(self) -> int:
        """The process that trains a method of theirs, once it does."""
        file = self.place / "site/pid"
        while not (text := file.read_text() if file.exists() else ""):
            assert self.process.poll() is None, self.words.read_text()
            time.sleep(0.05)
        file.unlink()
        return int(text)

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def _started() -> Iterator[list[Neighbours]]:
    started: list[Neighbours] = []
    yield started
    for one in started:
        one.end()


@pytest.fixture
def neighbours(_started: list[Neighbours], tmp_path_factory: pytest.TempPathFactory) -> Neighbours:
    if not _started or _started[-1].process.poll() is not None:
        _started.append(Neighbours(tmp_path_factory.mktemp("neighbours")))
    return _started[-1]


@pytest.fixture(scope="module")
def _alone() -> dict[str, Any]:
    return {}


@pytest.fixture
def alone(_alone: dict[str, Any], neighbours: Neighbours, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What kd comes to where no plugin of theirs is installed."""
    if not _alone:
        record = run(str(neighbours.suite), "kd", out=tmp_path_factory.mktemp("alone"))
        _alone.update(json.loads(json.dumps(summary(record))))
    return _alone


def test_those_that_are_installed_change_nothing(
    neighbours: Neighbours, alone: dict[str, Any], tmp_path: Path, row: Row
) -> None:
    for name in HARMS:
        assert neighbours.left_out[f"sets-{name}"].startswith("SharedStateError: it changed"), neighbours.left_out
    found = neighbours.run("kd", tmp_path)
    for name in {**HARMS, **UNSEEN}:
        row(f"an installed plugin changes what all share when it is imported: {name}", "others train the same bits",
            lost="status" not in found, changed=found != alone)  # fmt: skip
    assert found == alone


@pytest.mark.parametrize("name", share([*HARMS, *UNSEEN], 1))
def test_those_that_train_change_nothing_of_others(
    neighbours: Neighbours, alone: dict[str, Any], tmp_path: Path, row: Row, name: str
) -> None:
    theirs = neighbours.run(f"bad-{name}", tmp_path)
    if name in HARMS:
        changed = f"method 'bad-{name}' changed what all code of the process shares"
        words = "loss is not a differentiable scalar" if name == "gradients" else changed  # of its own next step
        assert words in (theirs.get("error") or theirs["mistake"])
    if "mistake" not in theirs:
        assert theirs["networks"]["clean/teacher"] == alone["networks"]["clean/teacher"]
    found = neighbours.run("kd", tmp_path)
    row(f"a method changes what all share while it trains: {name}", "named if it is seen; others train the same bits",
        lost="status" not in found, changed=found != alone)  # fmt: skip
    assert found == alone


@pytest.mark.parametrize(
    "name, error",
    share([
        ("exit", "condition clean: SystemExit: 0"),
        ("gone", "its process ended by itself, with exit status 0"),
        ("killed", "condition clean: its process was ended by signal SIGKILL, as the system does when memory is full"),
    ], 1),
)  # fmt: skip
def test_one_whose_process_ends_is_a_failed_record(
    neighbours: Neighbours, tmp_path: Path, row: Row, name: str, error: str
) -> None:
    found = neighbours.run(f"bad-{name}", tmp_path)
    row(f"a method ends its process: {name}", "a failed record says how", lost="status" not in found, changed=False)
    assert (found["status"], found["error"]) == ("failed", error)
    assert (tmp_path / "small" / f"bad-{name}" / found["run"] / "traceback.txt").exists()
    assert f"printed by bad-{name}" in neighbours.words.read_text()


@pytest.mark.parametrize("name", ["hang", "stubborn"] if ALL else ["hang"])
def test_one_that_hangs_is_ended_by_its_limit(neighbours: Neighbours, tmp_path: Path, row: Row, name: str) -> None:
    found = neighbours.run(f"bad-{name}", tmp_path, timeout=0.02)
    row(f"a method never returns: {name}", "--timeout ends it as a failed record", lost="status" not in found,
        changed=False)  # fmt: skip
    words = "longer than the 0.02 minutes" if name == "hang" else "did not end after the 1.02 minutes"
    assert found["status"] == "failed" and words in found["error"]


def test_an_interruption_reaches_the_process_and_the_run_goes_on(
    neighbours: Neighbours, tmp_path: Path, row: Row
) -> None:
    neighbours.say("bad-hang", tmp_path)
    trains = neighbours.training()
    os.kill(neighbours.process.pid, signal.SIGINT)
    found = neighbours.hear()
    row("whoever asked for a training in a process of its own is interrupted", "it ends as well",
        lost=found != {"interrupted": True}, changed=False)  # fmt: skip
    assert found == {"interrupted": True} and not _alive(trains)
    assert not list(tmp_path.rglob("*.lease"))


def test_no_process_outlives_whoever_asked_for_it(neighbours: Neighbours, tmp_path: Path, row: Row) -> None:
    neighbours.say("bad-hang", tmp_path)
    trains = neighbours.training()
    neighbours.process.kill()
    neighbours.process.wait()
    ends = time.monotonic() + 60
    while (lives := _alive(trains)) and time.monotonic() < ends:
        time.sleep(0.05)
    row("whoever asked for a training in a process of its own is killed", "it ends at once", lost=lives, changed=False)
    assert not lives


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
