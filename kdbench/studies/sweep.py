"""A study from its specification to its last record: planned, checked, worked off, and told how it stands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from kdbench.plugin.loader import load_plugins
from kdbench.running.dry_run import try_plan
from kdbench.running.evaluation import check_tasks
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan
from kdbench.running.suite_data import load_suite_data, needed_data
from kdbench.specs import RunSpec
from kdbench.studies.executors import check_engines
from kdbench.studies.folder import State, StudyFolder
from kdbench.studies.nodes import Node, Planner, StudyPlan, make_plan
from kdbench.studies.schedule import Executor, Schedule
from kdbench.studies.study import Study
from kdbench.suites import load_suite

Listener = Callable[[Node, str, str], None]
"""Called with a node, what became of it (``started``, ``done``, ``failed``, ``blocked``) and a word on it."""


def plan_study(
    study: Study, options: RunOptions, *, wanted: Callable[[RunSpec], bool] = lambda spec: True
) -> StudyPlan:
    """Expand a study, with all that can be checked checked: names, ranges, data, every network set up untrained, and
    each method's loss on a tiny one.

    ``wanted``: asked of each run; one that it answers with no, as its results are there already, is left out.

    Raises:
        KdbenchError: a mistake in the study, or data that are not there.
    """
    check_engines(study)
    plugins, suite = load_plugins(), load_suite(study.suite)
    study = study.with_methods(sorted(plugins.methods))
    plans: dict[str, Plan] = {}
    pairs = []
    for request in study.requests():
        key = json.dumps(request._replace(seed=0), sort_keys=True)
        if key not in plans:
            plans[key] = make_plan(study, suite, plugins, request)
        pairs.append((request, plans[key]))
    chosen = {name: task for plan in plans.values() for name, task in plan.tasks.items()}
    data = load_suite_data(pairs[0][1].suite, plugins, options.place, **needed_data(chosen.values()))
    check_tasks(chosen, data.dataset.facts)
    suites = {plan.suite.label: plan.suite for plan in plans.values()}
    graphs = {label: RunGraph(one, data.dataset, plugins, options) for label, one in suites.items()}
    for plan in plans.values():
        try_plan(plan, graphs[plan.suite.label], study.seeds[0])
    planner = Planner()
    for request, plan in pairs:
        graph = graphs[plan.suite.label]
        spec = plan.spec(data, graph, request.seed)
        if wanted(spec):
            planner.add(request, spec, graph)
    return StudyPlan(study=study, suite=suite, nodes=planner.nodes())


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a study stands."""

    plan: StudyPlan
    states: dict[str, State]
    errors: dict[str, str]
    """Of nodes that failed themselves."""

    @classmethod
    def read(cls, folder: StudyFolder, plan: StudyPlan | None = None) -> Standing:
        """From its folder; of a plan that is not written yet where one is given."""
        plan = plan or folder.plan()
        states = folder.states(plan.nodes)
        errors = {node.key: folder.error(node) for node in plan.nodes if states[node.key] == "failed"}
        return cls(plan, states, errors)

    def count(self, state: State, kind: str | None = None) -> int:
        """Nodes in a state."""
        return sum(self.states[node.key] == state and kind in (None, node.kind) for node in self.plan.nodes)

    def schedule(self, *, retry_failed: bool) -> Schedule:
        """What is left to do. A failed node, and what waits for it, only with ``retry_failed``."""
        wanted = {"open", "failed"} if retry_failed else {"open"}
        never = {} if retry_failed else self.blocked()
        return Schedule({
            node.key: node.needs
            for node in self.plan.nodes
            if self.states[node.key] in wanted and node.key not in never
        })  # fmt: skip

    def blocked(self) -> dict[str, str]:
        """Open nodes that wait for a failed one: key to that one's key."""
        found: dict[str, str] = {}
        for node in self.plan.nodes:  # needs come first
            for need in node.needs:
                if self.states[node.key] == "open" and (self.states[need] == "failed" or need in found):
                    found.setdefault(node.key, found.get(need, need))
        return found


def work_off(
    folder: StudyFolder, plan: StudyPlan, executor: Executor, listener: Listener, *, retry_failed: bool = False
) -> Standing:
    """Do what is left of a study; afterwards, how it stands.

    A failed node ends what waits for it; the others go on. An interruption stops the workers, and loses nothing.
    """
    nodes = {node.key: node for node in plan.nodes}
    schedule = Standing.read(folder, plan).schedule(retry_failed=retry_failed)
    try:
        while schedule.left:
            while executor.free() and (key := schedule.next()) is not None:
                listener(nodes[key], "started", "")
                executor.start(key)
            for key, error in executor.wait().items():
                if not error:
                    schedule.finish(key)
                    listener(nodes[key], "done", "")
                    continue
                listener(nodes[key], "failed", error)
                for waiting in schedule.fail(key):
                    listener(nodes[waiting], "blocked", f"it needs {nodes[key].title}")
    finally:
        executor.stop()
    return Standing.read(folder, plan)


def find_study(out: Path, name: str) -> StudyFolder:
    """A study by its name, or by its file."""
    folder = StudyFolder(out, Path(name).stem if name.endswith(".toml") else name)
    folder.plan()
    return folder
