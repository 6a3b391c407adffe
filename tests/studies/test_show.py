"""What is said of a study while it runs: what is in a queue does not run; off a terminal, a line each minute."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from kdbench import progress
from kdbench.progress import Lines
from kdbench.running.options import RunOptions
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


def test_where_no_terminal_is_the_standing_is_said_each_minute(
    plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    now = [0.0]
    clock = Lines(written.append, lambda: now[0])
    monkeypatch.setattr(progress, "_LINES", clock)
    events = io.StringIO()
    with Watch(StudyFolder(tmp_path, "one"), plan, 2, Console(file=events)) as watch:
        watch.changed(plan.nodes[0], "started", "")
        now[0] = 59.0
        clock.tick()
        assert written == []
        now[0] = 61.0
        clock.tick()
    assert written[0].startswith("study: 2 nodes: 0 done, 1 running")
    assert "started: " in events.getvalue()
