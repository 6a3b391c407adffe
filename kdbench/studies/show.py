"""How a study is watched while it runs: a live table on a terminal, one line per event elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.progress import in_words
from kdbench.studies.estimate import Estimate
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.schedule import Executor, Queue
from kdbench.studies.sweep import Standing, work_off

ENGINE = "engine"
"""Log of what an engine itself prints: standard output is for the answer."""
MOST_ROWS = 20
"""Of the live table; what is running comes first."""


class Watch:
    """On standard error. ``changed`` is the listener of ``work_off``."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan, workers: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._plan, self._workers = plan, workers
        self._states: dict[str, str] = dict(Standing.read(folder, plan).states)
        self._conditions = plan.study.conditions or tuple(plan.suite.conditions)
        self._estimate = Estimate.of_folder(folder.out, plan.suite)
        self._began: dict[str, float] = {}
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=1)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def changed(self, node: Node, event: str, word: str) -> None:
        """A node was ``started``, is ``done``, ``failed`` or ``blocked``."""
        now = time.monotonic()
        self._states[node.key] = "running" if event == "started" else event
        took = f" in {in_words(now - self._began[node.key])}" if event == "done" else ""
        if event == "started":
            self._began[node.key] = now
        if not self._console.is_terminal:
            done = sum(state == "done" for state in self._states.values())
            line = f"{time.strftime('%H:%M:%S')} [{done}/{len(self._states)}] {event}{took}: {node.title}"
            print(f"{line}: {word}" if word else line, file=self._console.file, flush=True)

    def _table(self) -> Group:
        rank = {"running": 0, "failed": 1, "blocked": 2, "open": 3, "done": 4}
        nodes = sorted(self._plan.nodes, key=lambda node: rank[self._states[node.key]])
        table = Table("node", "state", "for", "of about", box=None, pad_edge=False)
        now = time.monotonic()
        for node in nodes[:MOST_ROWS]:
            state, about = self._states[node.key], self._estimate.seconds(node, self._conditions)
            since = in_words(now - self._began[node.key]) if state == "running" else ""
            table.add_row(Text(node.title), state, since, in_words(about) if about else "")
        return Group(table, Text(self._summary(now)))

    def _summary(self, now: float) -> str:
        counts = {state: sum(one == state for one in self._states.values()) for state in ("done", "running", "failed")}
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
        left = self._left(now)
        return f"{len(self._states)} nodes: {said}" + (f", about {in_words(left)} left" if left is not None else "")

    def _left(self, now: float) -> float | None:
        """Seconds, None where an earlier record is missing."""
        total = 0.0
        for node in self._plan.nodes:
            if self._states[node.key] in ("open", "running"):
                about = self._estimate.seconds(node, self._conditions)
                if about is None:
                    return None
                total += max(0.0, about - (now - self._began.get(node.key, now)))
        return total / self._workers


def watched(
    folder: StudyFolder, plan: StudyPlan, executor: Executor, *, wait: bool, retry_failed: bool
) -> tuple[Standing, Mapping[str, str]]:
    """Work a study off with a word on each node. How it stands afterwards, and the jobs of an engine with a queue."""
    jobs: Mapping[str, str] = {}
    with folder.driven():
        folder.write(plan)
        if isinstance(executor, Queue):
            nodes = {node.key: node for node in plan.nodes}
            order = Standing.read(folder, plan).schedule(retry_failed=retry_failed).order()
            jobs = executor.submit([(key, nodes[key].needs) for key in order])
        if not wait:
            return Standing.read(folder, plan), jobs
        folder.log(ENGINE).parent.mkdir(exist_ok=True)
        with (
            Watch(folder, plan, executor.workers) as watch,
            folder.log(ENGINE).open("a") as words,
            contextlib.redirect_stdout(words),
        ):
            return work_off(folder, plan, executor, watch.changed, retry_failed=retry_failed), {}
