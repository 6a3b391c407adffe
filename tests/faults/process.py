"""A process that does small runs in forks of itself, each of which can be killed before its n-th write to the disk.

``python -m tests.faults.process SUITE`` reads a JSON object a line and answers each with one. torch is loaded once, and
nothing is computed before a fork, as threads would not be there after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = {"os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "open": 0}
"""Audit events of a write, and which of their arguments is the path."""


class Strike:
    """Counts the writes below a folder and strikes before one of them: SIGKILL, or an error of the system."""

    def __init__(self, root: str, at: int | None, error: int | None) -> None:
        self.root, self.at, self.error, self.count = root, at, error, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        place = EVENTS.get(event)
        if place is None or not str(arguments[place]).startswith(self.root):
            return
        if (event == "open" and not arguments[2] & WRITING) or str(arguments[0]).endswith(".lease"):
            return
        self.count += 1
        if self.at is None or self.count < self.at:
            return
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error), str(arguments[place]))
        os.kill(os.getpid(), signal.SIGKILL)


def prepare(suite: str) -> Any:
    """Everything that a run needs and that no fault is in, once: packages, plugins, data."""
    import torch._dynamo  # noqa: F401 (the first optimizer of a process imports it, for a second or two)

    import kdbench.running.runner as runner
    from kdbench import files
    from kdbench.data import DataPlace
    from kdbench.devices import CPU
    from kdbench.plugin.loader import load_plugins
    from kdbench.running import provenance
    from kdbench.running.suite_data import load_suite_data, needed_data
    from kdbench.running.trial import TINY
    from kdbench.suites import load_suite

    files.sync = lambda handle: None  # no fault here is a power failure
    plugins = load_plugins()
    plugins.models.add("tiny", TINY, "test")
    tasks = [(plugins.tasks.get("clean"), None)]
    data = load_suite_data(load_suite(suite), plugins, DataPlace.default(), **needed_data(tasks))
    provenance.collect(plugins=plugins.loaded, device=CPU, started="", seconds={})
    vars(runner).update(load_suite_data=lambda *_, **__: data, plan_fingerprint=lambda plan: None)
    return runner


def work(runner: Any, job: dict[str, Any]) -> dict[str, Any]:
    """One run, in a fork: what came of it and how often it wrote."""
    from kdbench.errors import KdbenchError

    strike = Strike(job["out"], job.get("at"), job.get("error"))
    sys.addaudithook(strike)
    try:
        record = runner.run(job["suite"], "ce", out=Path(job["out"]), fresh=job.get("fresh", False))
    except KdbenchError as error:
        return {"mistake": str(error), "writes": strike.count}
    return {
        "status": record.status,
        "error": record.error,
        "scores": [score.model_dump(mode="json") for score in record.scores],
        "checkpoint": {name: one.sha256 for name, one in record.hashes.students.items()},
        "writes": strike.count,
    }


def start(runner: Any, job: dict[str, Any]) -> tuple[int, int]:
    """Begin a run in a fork: its process, and where it will say what came of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    words = os.open(job["words"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(words, 2)
    os.dup2(words, 1)
    status = 1
    with contextlib.suppress(BaseException):
        try:
            os.write(writing, json.dumps(work(runner, job)).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
    os._exit(status)


def end(job: dict[str, Any], child: int, reading: int) -> dict[str, Any]:
    """The same when it has ended: ``killed`` where it was, and its ``words``."""
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(said) if said else {}
    return {**found, "killed": os.WIFSIGNALED(status), "words": Path(job["words"]).read_text(errors="replace")}


def answer(runner: Any, job: dict[str, Any]) -> dict[str, Any]:
    """What came of a run, and under ``beside`` of those that went on at the same time."""
    jobs = [job, *({**job, "words": f"{job['words']}.{at}", **one} for at, one in enumerate(job.pop("beside", ())))]
    running = [start(runner, one) for one in jobs]
    found, *others = [end(one, *process) for one, process in zip(jobs, running, strict=True)]
    return {**found, "beside": others} if others else found


def main() -> None:
    """Answer until there is no more to do."""
    runner = prepare(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(runner, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
