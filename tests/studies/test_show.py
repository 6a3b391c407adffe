"""What is said of a study while it runs: what is in a queue does not run; off a terminal it is a plain log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kdbench import progress
from kdbench.progress import Lines
from kdbench.running.options import RunOptions
from kdbench.studies import show
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.show import Watch
from kdbench.studies.study import make_study
from kdbench.studies.sweep import plan_study


@pytest.fixture
def plan(small: Path, tmp_path: Path) -> StudyPlan:
    study = make_study("a test", {"name": "one", "suite": str(small), "methods": ["ce"], "seeds": [0, 1]})
    return plan_study(study, RunOptions.make(out=tmp_path))


def test_what_waits_in_a_queue_does_not_run(plan: StudyPlan, tmp_path: Path) -> None:
    running: set[str] = set()
    first, second = plan.nodes[:2]
    watch = Watch(StudyFolder(tmp_path, "one"), plan, 2, Console(file=io.StringIO()), lambda: running)
    watch.changed(first, "started", "")
    watch.changed(second, "started", "")
    assert watch.summary(0.0) == "2 nodes: 0 done, 2 queued"
    running.add(first.key)
    assert watch.summary(0.0) == "2 nodes: 0 done, 1 running, 1 queued"
    running.clear()  # it was taken off its machine
    watch.changed(second, "failed", "no luck")
    assert watch.summary(0.0) == "2 nodes: 0 done, 1 queued, 1 failed"


def test_where_no_terminal_is_each_end_is_a_line_and_the_standing_one_every_ten_minutes(
    plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    now = [0.0]
    clock = Lines(written.append, lambda: now[0])
    monkeypatch.setattr(progress, "_LINES", clock)
    monkeypatch.setattr(Lines, "_follow", lambda self, over: None)
    monkeypatch.setattr(show.time, "monotonic", lambda: now[0])
    events = io.StringIO()
    first, second = plan.nodes
    with Watch(StudyFolder(tmp_path, "one"), plan, 2, Console(file=events)) as watch:
        watch.changed(first, "started", "")
        watch.changed(second, "started", "")
        for now[0] in (61.0, 122.0, 599.0, 660.0, 1200.0):
            clock.tick()
        watch.changed(first, "done", "")
        watch.changed(second, "failed", "no luck")
        watch.changed(second, "blocked", "it needs a teacher")
    assert written == ["study: 2 nodes: 0 done, 2 running, 11 min so far", "study: over after 20 min"]
    said = [line.split(" ", 1)[1] for line in events.getvalue().splitlines()]
    assert said == [
        "2 nodes: 0 done",
        "[1/2] done in 20 min: ce seed 0",
        "[1/2] failed in 20 min: ce seed 1: no luck",
    ]


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("error", "output", "environment", "drawn"),
    [
        (Terminal(), Terminal(), {}, True),
        (Terminal(), io.StringIO(), {}, False),  # kdbench sweep | cat
        (io.StringIO(), io.StringIO(), {"FORCE_COLOR": "1"}, False),
        (Terminal(), Terminal(), {"JPY_PARENT_PID": "1"}, False),  # ! in a notebook
        (Terminal(), Terminal(), {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, False),  # in an editor's
    ],
)
def test_a_table_is_for_a_terminal_alone(
    error: io.StringIO, output: io.StringIO, environment: dict[str, str], drawn: bool,
    plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "JPY_PARENT_PID", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", output)
    error.truncate(0)
    with Watch(StudyFolder(tmp_path, "one"), plan, 2, Console(file=error)) as watch:
        watch.changed(plan.nodes[0], "started", "")
        watch.changed(plan.nodes[0], "done", "")
    assert ("\x1b[" in error.getvalue()) == drawn
    assert ("[1/2] done in 0 s: ce seed 0" in error.getvalue()) != drawn
