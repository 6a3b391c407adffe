"""Tasks, data sets and trackers of third parties that leave, hang, run out of memory and print: each is named, the
other seeds are run, and standard output holds the answer alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdbench.results.record import Record
from tests.distributions import write_distribution
from tests.faults.conftest import SUITE, Row, share

SOURCE = '''
"""What each does is asked for by environment variables; a task does another thing at each seed."""
import ctypes, os, sys, time
import torch
import kdbench
from kdbench.data import Dataset, make_image_set

def misbehave(how):
    print("printed by Python")
    os.write(1, b"printed by another language\\n")
    ctypes.CDLL(None).printf(b"printed by C\\n")
    if how == "exit":
        sys.exit(0)
    if how == "memory":
        raise MemoryError
    if how == "gone":
        os._exit(0)
    while how == "hang":
        time.sleep(0.1)

def load(place):
    misbehave(os.environ.get("DATA"))
    images = torch.randint(0, 256, (120, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    def part(name, rows):
        return make_image_set(name, images[rows], torch.arange(120)[rows] % 10, CLASSES)
    return Dataset("guests", CLASSES, 32, part("guests-train", slice(100)), part("guests-test", slice(100, 120)))

CLASSES = tuple("abcdefghij")

class Task(kdbench.Task):
    """A task of a third party."""
    name = "guest"
    shares = frozenset({"half"})
    def evaluate(self, predictor, data, ctx):
        with open(os.environ["SEEN"], "a+") as file:
            file.write("x")
            file.seek(0)
            number = len(file.read()) - 1
        misbehave(os.environ["TASK"].split(",")[number])
        return [ctx.share("half", data.test.labels % 2 == 0)]
    def prepare(self, settings):
        misbehave(os.environ.get("PLAN"))

class Tracker:
    """Does it at one of its calls."""
    def __init__(self, how, at):
        self.how, self.at = how, at
    def do(self, *_, name):
        misbehave(self.how if name == self.at else None)
    def __getattr__(self, name):
        return lambda *_: self.do(name=name)

def opened(how, at):
    def open(spec, folder):
        misbehave(how if at == "open" else None)
        return Tracker(how, at)
    return open

@kdbench.hookimpl
def kdbench_register_tasks():
    return [Task()]

@kdbench.hookimpl
def kdbench_register_datasets():
    return [kdbench.DatasetSpec("guests", CLASSES, 32, load)]

@kdbench.hookimpl
def kdbench_register_trackers():
    return [kdbench.TrackerSpec(f"{how}-{at}", opened(how, at), "")
            for how in ("exit", "memory", "none") for at in ("open", "epoch", "record", "close")]

misbehave(None)
'''


class Guests:
    """Where they are installed."""

    def __init__(self, folder: Path) -> None:
        write_distribution(folder, "guests", {"guests": "guests_plugin"})
        (folder / "guests_plugin.py").write_text(SOURCE)
        self.suite, self.out, self.seen = folder / "small.toml", folder / "runs", folder / "seen.txt"
        text = SUITE.replace('dataset = "digits"', 'dataset = "guests"').replace("epochs = 2", "epochs = 1")
        self.suite.write_text(text.replace("train_size = 100\n", ""))
        self.path = os.pathsep.join([str(folder), *filter(None, sys.path)])

    def run(self, *words: str, tasks: str = "clean", **more: str) -> subprocess.CompletedProcess[str]:
        """``kdbench run --json``."""
        self.seen.unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": self.path, "SEEN": str(self.seen), **more}
        for name in ("KDBENCH_ISOLATION", "PYTHONUNBUFFERED"):  # with the second C keeps nothing back
            environment.pop(name, None)
        command = [sys.executable, "-m", "kdbench", "run", "--method", "ce", "--suite", str(self.suite), "--json"]
        where = ["--out", str(self.out), "--tasks", tasks]
        return subprocess.run([*command, *where, *words], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Guests:
    return Guests(tmp_path_factory.mktemp("guests"))


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """What is on standard output, which must be one value of JSON."""
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def test_a_task_that_fails_is_a_failed_record_and_the_other_seeds_are_run(guests: Guests, row: Row) -> None:
    done = guests.run("--seed", "0-3", tasks="clean,guest", TASK="exit,memory,gone,none")
    found = [Record.model_validate(one) for one in answer(done)]
    errors = [
        "condition clean: SystemExit: 0",
        "condition clean: MemoryError: MemoryError",
        "its process ended by itself, with exit status 0",
        None,
    ]
    for how, record, error in zip(("leaves", "has too little memory", "ends its process"), found, errors, strict=False):
        row(f"a task {how}", "a failed record says how, and the other seeds are run",
            lost=(record.status, record.error) != ("failed", error), changed=False)  # fmt: skip
    assert [record.error for record in found] == errors
    assert [record.status for record in found] == ["failed"] * 3 + ["finished"]
    assert [len(record.scores) for record in found] == [1, 1, 0, 2]
    assert done.returncode == 2
    assert all(f"printed by {what}" in done.stderr for what in ("Python", "another language", "C\n"))


def test_a_task_that_hangs_is_ended_by_its_limit(guests: Guests, row: Row) -> None:
    done = guests.run("--seed", "9", "--timeout", "0.1", tasks="guest", TASK="hang")
    record = Record.model_validate(answer(done))
    row("a task never returns", "--timeout ends it as a failed record", lost=record.status != "failed", changed=False)
    assert (done.returncode, record.error) == (2, "it took longer than the 0.1 minutes that --timeout allows")


@pytest.mark.parametrize(
    ("how", "said"),
    share([
        ("exit", "data set 'guests' of guests 1.0 can't be loaded: SystemExit: 0, at "),
        ("memory", "data set 'guests' of guests 1.0 can't be loaded: MemoryError: MemoryError, at "),
        ("gone", "its process ended by itself, with exit status 0, and so does one that only loads the data"),
        ("hang", "the data of suite 'small' were not loaded: it took longer than the 0.02 minutes"),
    ], 2),
)  # fmt: skip
def test_a_data_set_that_can_not_be_loaded_is_one_line(guests: Guests, row: Row, how: str, said: str) -> None:
    done = guests.run("--seed", "5,6", *(["--timeout", "0.02"] if how == "hang" else []), DATA=how)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    what = {"exit": "leaves", "memory": "has too little memory", "gone": "ends its process", "hang": "never returns"}
    row(f"a data set {what[how]} while it is loaded", "one line names it", lost=len(errors) != 1, changed=False)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert len(errors) == 1 and said in errors[0], done.stderr


def test_a_tracker_that_fails_ends_no_run(guests: Guests, row: Row) -> None:
    names = [f"{how}-{at}" for how in ("exit", "memory", "none") for at in ("open", "epoch", "record", "close")]
    done = guests.run("--seed", "0,7", *(word for name in names for word in ("--track", name)), TASK="none")
    found = answer(done)
    assert [one["status"] for one in found] == ["finished", "finished"] and done.returncode == 0
    warned = [name for name in names if f"warning: tracker '{name}' failed, the run goes on" in done.stderr]
    for name in names:
        if not name.startswith("none"):
            what = "leaves" if name.startswith("exit") else "has too little memory"
            row(f"a tracker {what}", "a warning names it, and the run goes on", lost=name not in warned, changed=False)
    assert warned == [name for name in names if not name.startswith("none")]


def test_what_leaves_while_a_run_is_planned_ends_no_command_in_silence(guests: Guests) -> None:
    done = guests.run(tasks="guest", PLAN="exit")
    assert (done.returncode, done.stdout) == (2, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "guests_plugin.py:" in errors[0] and "ended the command: SystemExit: 0" in errors[0]
