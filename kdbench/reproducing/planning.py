"""What must be run for a reproduction at a scale: its cells looked up in what is installed, and made into studies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.reproducing.reproduction import STUDENT, Cell, Reproduction, Setting
from kdbench.results.headline import unattacked_keys
from kdbench.running.plan import Plan
from kdbench.specs import Suite
from kdbench.studies.study import OneRun, Study
from kdbench.suites import load_suite
from kdbench.suites.changes import STUDENT as STUDENT_MODEL
from kdbench.suites.changes import with_changes
from kdbench.training.seeds import derive_seed


@dataclasses.dataclass(frozen=True)
class Wish:
    """A cell at a scale: the run that gives its number, as it is asked for."""

    cell: Cell
    base: str
    """The suite as the scale names it."""
    changes: Mapping[str, Any]
    """Of the suite, by hand."""
    condition: str
    """The suite's."""
    method: str
    params: Mapping[str, Any]
    """As a user would give them."""
    seed: int | None
    """Of one of the suite's networks, which has its own; None: the study's."""

    @property
    def key(self) -> str:
        """Cells that have it alike are of one run, under all of their conditions."""
        return json.dumps([self.base, self.method, self.params, self.changes, self.seed], sort_keys=True)

    def seeds(self, asked: Sequence[int]) -> tuple[int, ...]:
        """Those of its runs, where these are asked for."""
        return tuple(asked) if self.seed is None else (self.seed,)


@dataclasses.dataclass(frozen=True)
class Job:
    """The same, looked up in what is installed."""

    wish: Wish
    plan: Plan
    """With resolved parameters, under this condition alone."""

    @property
    def cell(self) -> Cell:
        return self.wish.cell

    @property
    def condition(self) -> str:
        return self.wish.condition

    @property
    def suite(self) -> Suite:
        """With its changes."""
        return self.plan.suite


def wishes(reproduction: Reproduction, scale: str) -> list[Wish]:
    """The cells that are measured at a scale.

    Raises:
        KdbenchError: the reproduction has no such scale, or its suite has not a network.
    """
    setting = reproduction.at(scale)
    return [_wish(cell, setting) for cell in reproduction.measured(scale)]


def _wish(cell: Cell, setting: Setting) -> Wish:
    base = setting.suite_of(cell.data)
    assert base is not None  # else it is not measured
    meant = setting.condition(cell.condition)
    changes = {**cell.set, **setting.set, **{f"conditions.{meant.use}.{key}": one for key, one in meant.set.items()}}
    method, params, seed = cell.method, cell.params, None
    if cell.network != STUDENT:
        network = load_suite(base).network(cell.network)
        changes[STUDENT_MODEL] = network.model
        method, params = cell.method or network.method, cell.params if cell.method else {**network.params, **params}
        seed = derive_seed(network.seed, cell.network)
    return Wish(cell, base, changes, meant.use, method, {**params, **setting.params.get(method, {})}, seed)


def plan_jobs(reproduction: Reproduction, scale: str, plugins: Plugins) -> list[Job]:
    """All cells that are measured at a scale, each looked up.

    Raises:
        KdbenchError: a suite, network, method, parameter, condition, task or setting that there is not, a task that is
            not meant for its condition; the message names row and column.
    """
    setting, plans = reproduction.at(scale), dict[str, Plan]()
    jobs = []
    for cell in reproduction.measured(scale):
        try:
            wish = _wish(cell, setting)
            jobs.append(Job(wish, _plan(wish, plugins, plans)))
        except KdbenchError as error:
            where = f"'{reproduction.id}' at scale {scale}, row '{cell.row}', column '{cell.column}'"
            raise KdbenchError(f"{where}: {error.message}", error.hint) from None
    return jobs


def _plan(wish: Wish, plugins: Plugins, made: dict[str, Plan]) -> Plan:
    condition = wish.condition
    key = json.dumps([wish.key, condition, wish.cell.task])
    if key not in made:
        suite = with_changes(load_suite(wish.base), wish.changes)
        suite.condition(condition)
        tasks = _tasks(wish.cell, suite, condition, plugins)
        made[key] = Plan.make(suite, plugins, wish.method, dict(wish.params), [condition], tasks)
    return made[key]


def _tasks(cell: Cell, suite: Suite, condition: str, plugins: Plugins) -> list[str]:
    """A cell's task, and plain accuracy, without which calibration cannot be compared, nor an attack be judged."""
    plain = [key.partition("/")[0] for key in unattacked_keys()]
    applies = [name for name in plain if plugins.tasks.get(name).applies(suite.condition(condition))]
    return sorted({*applies, *([cell.task] if cell.task else [])})


def make_studies(
    reproduction: Reproduction, scale: str, jobs: Iterable[Job], seeds: Sequence[int], **engine: Any
) -> list[Study]:
    """The runs of all jobs as one study for each suite: a run once, under the conditions and with the tasks of its
    cells. ``engine``: ``executor``, ``threads``, ``engine``, ``compile`` of the studies."""
    runs: dict[str, list[Job]] = {}
    for job in jobs:
        runs.setdefault(job.wish.key, []).append(job)
    by_suite: dict[str, list[OneRun]] = {}
    for same in sorted(runs.values(), key=lambda same: same[0].wish.seed is not None):  # networks come with students
        one = same[0].wish
        run = OneRun(
            method=one.method,
            params=dict(one.params),
            changes=dict(one.changes),
            conditions=tuple(dict.fromkeys(job.condition for job in same)),
            tasks=tuple(sorted({task for job in same for task in job.plan.tasks})),
            seed=one.seed,
        )
        by_suite.setdefault(one.base, []).append(run)
    name = f"reproduce-{reproduction.id.replace('/', '-')}-{scale}"
    return [
        Study(
            name=name if len(by_suite) == 1 else f"{name}-{load_suite(suite).name}",
            suite=suite,
            seeds=tuple(seeds),
            runs=tuple(own),
            **engine,
        )
        for suite, own in by_suite.items()
    ]
