"""How a study is watched while it runs: a live table on a terminal; elsewhere a line for each node that ended, and one
every ten minutes on how all stands."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.progress import Piece, in_words, is_drawn, lines
from kdbench.studies.estimate import Estimate
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node, StudyPlan
from kdbench.studies.schedule import Executor, Queue
from kdbench.studies.sweep import Standing, work_off

ENGINE = "engine"
"""Log of what an engine itself prints: standard output is for the answer."""
MOST_ROWS = 20
"""Of the live table; what is running comes first."""
STANDING: Final = 600.0
"""Seconds between two lines of a log on how the whole study stands."""


class Watch:
    """On standard error. ``changed`` is the listener of ``work_off``."""

    def __init__(
        self, folder: StudyFolder, plan: StudyPlan, workers: int, console: Console | None = None,
        running: Callable[[], Collection[str]] | None = None,
    ) -> None:  # fmt: skip
        """``running``: keys of the started nodes that run, of an engine with a queue; None: all of them do."""
        self._running = running
        self._console = console or Console(stderr=True)
        self._drawn = has_tables(self._console)
        self._plan, self._workers = plan, workers
        self._states: dict[str, str] = dict(Standing.read(folder, plan).states)
        self._conditions = plan.study.conditions or tuple(plan.suite.conditions)
        self._done = sum(state == "done" for state in self._states.values())
        self._estimate = Estimate.of_folder(folder.out, plan.suite)
        self._began: dict[str, float] = {}
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=1)
        self._shown = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._drawn:
            self._shown.enter_context(self._live)
        else:
            self._say(self.summary(time.monotonic()))
            self._shown.enter_context(lines(_Standing(self)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._shown.close()

    def changed(self, node: Node, event: str, word: str) -> None:
        """A node was ``started``, is ``done``, ``failed`` or ``blocked``."""
        now = time.monotonic()
        queue = self._running is not None
        if event == "started" and not queue:
            self._began[node.key] = now
        self._states[node.key] = ("queued" if queue else "running") if event == "started" else event
        self._done += event == "done"
        if event in ("done", "failed") and not self._drawn:  # what is blocked the summary counts
            took = f" in {in_words(now - self._began[node.key])}" if node.key in self._began else ""
            line = f"[{self._done}/{len(self._states)}] {event}{took}: {node.title}"
            self._say(f"{line}: {word}" if word else line)

    def _say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", file=self._console.file, flush=True)

    def _look(self, now: float) -> None:
        """Tell what runs from what is queued; the clock of a node begins when it is seen to run."""
        if self._running is None:
            return
        running = set(self._running())
        for key, state in self._states.items():
            if state in ("running", "queued"):
                self._states[key] = "running" if key in running else "queued"
                if key in running:
                    self._began.setdefault(key, now)

    def _table(self) -> Group:
        self._look(time.monotonic())
        rank = {"running": 0, "queued": 1, "failed": 2, "blocked": 3, "open": 4, "done": 5}
        nodes = sorted(self._plan.nodes, key=lambda node: rank[self._states[node.key]])
        table = Table("node", "state", "for", "of about", box=None, pad_edge=False)
        now = time.monotonic()
        for node in nodes[:MOST_ROWS]:
            state, about = self._states[node.key], self._estimate.seconds(node, self._conditions)
            since = in_words(now - self._began.get(node.key, now)) if state == "running" else ""
            table.add_row(Text(node.title), state, since, in_words(about) if about else "")
        return Group(table, Text(self.summary(now)))

    def summary(self, now: float) -> str:
        """How many nodes are done, run, wait in a queue and failed, and the time that is left, in a line."""
        self._look(now)
        counts = {
            state: sum(one == state for one in self._states.values())
            for state in ("done", "running", "queued", "failed", "blocked")
        }
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
        left = self._left(now)
        return f"{len(self._states)} nodes: {said}" + (f", about {in_words(left)} left" if left is not None else "")

    def _left(self, now: float) -> float | None:
        """Seconds, None where an earlier record is missing."""
        total = 0.0
        for node in self._plan.nodes:
            if self._states[node.key] in ("open", "running", "queued"):
                about = self._estimate.seconds(node, self._conditions)
                if about is None:
                    return None
                total += max(0.0, about - (now - self._began.get(node.key, now)))
        return total / self._workers


class _Standing(Piece):
    """A study as a piece of work: its line is the summary, every ``STANDING`` seconds."""

    def __init__(self, watch: Watch) -> None:
        super().__init__("study", time.monotonic())
        self._watch, self._said = watch, self._began

    def line(self, now: float) -> str:
        if now - self._said < STANDING:
            return ""
        self._said = now
        return f"study: {self._watch.summary(now)}, {in_words(now - self._began)} so far"


def has_tables(console: Console) -> bool:
    """Whether a table that changes can be shown: not where standard output is a log, nor behind ``!`` in a notebook,
    where a terminal is pretended and no line above the last can be drawn over."""
    notebook = "JPY_PARENT_PID" in os.environ or "inline" in os.environ.get("MPLBACKEND", "")  # of its kernel
    return is_drawn(console) and sys.stdout.isatty() and not notebook


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
        running = executor.running if isinstance(executor, Queue) else None
        with (
            Watch(folder, plan, executor.workers(), running=running) as watch,
            folder.log(ENGINE).open("a") as words,
            contextlib.redirect_stdout(words),
        ):
            return work_off(folder, plan, executor, watch.changed, retry_failed=retry_failed), {}
