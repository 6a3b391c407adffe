"""A study from its specification to its last record: planned, checked, worked off, and told how it stands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from kdbench.errors import unknown_name
from kdbench.plugin.loader import load_plugins
from kdbench.running.dry_run import dry_run
from kdbench.running.evaluation import check_tasks
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan
from kdbench.running.suite_data import load_suite_data, needed_data
from kdbench.studies.executors import local
from kdbench.studies.folder import State, StudyFolder
from kdbench.studies.nodes import Node, Planner, StudyPlan
from kdbench.studies.schedule import Executor, Schedule
from kdbench.studies.study import Study
from kdbench.suites import load_suite

Listener = Callable[[Node, str, str], None]
"""Called with a node, what became of it (``started``, ``done``, ``failed``, ``blocked``) and a word on it."""

EXECUTORS = ("local",)


def plan_study(study: Study, options: RunOptions) -> StudyPlan:
    """Expand a study, with all that can be checked checked: names, ranges, data, and every network set up untrained.

    Raises:
        KdbenchError: a mistake in the study, or data that are not there.
    """
    if study.executor not in EXECUTORS:
        raise unknown_name("executor", study.executor, EXECUTORS)
    for name in study.engine:
        if name not in EXECUTORS:
            raise unknown_name("executor", name, EXECUTORS)
    local.check_settings(study.engine.get("local", {}))
    plugins, suite = load_plugins(), load_suite(study.suite)
    study = study.with_methods(sorted(plugins.methods))
    plans: dict[tuple[str, str], Plan] = {}
    pairs = []
    for request in study.requests():
        key = request.method, json.dumps(request.params, sort_keys=True)
        if key not in plans:
            plans[key] = Plan.make(
                suite, plugins, request.method, request.params, study.conditions, study.tasks, study.attacks or None
            )
        pairs.append((request, plans[key]))
    whole = pairs[0][1].suite
    chosen = {name: task for _, plan in pairs for name, task in plan.tasks.items()}
    data = load_suite_data(whole, plugins, options.place, **needed_data(chosen.values()))
    check_tasks(chosen, data.dataset.facts)
    graph = RunGraph(whole, data.dataset, plugins, options)
    _set_up(study, plans, graph)
    nodes = Planner(study, whole, data, graph).nodes(pairs)
    return StudyPlan(study=study, suite=suite, nodes=nodes)


def _set_up(study: Study, plans: Mapping[tuple[str, str], Plan], graph: RunGraph) -> None:
    """Every method with its networks, untrained, at the first seed."""
    for plan in plans.values():
        for condition in plan.params:
            dry_run(graph, graph.student(condition, plan.method, plan.params_passed, study.seeds[0]), condition)


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


def make_executor(folder: StudyFolder, study: Study, options: RunOptions) -> local.LocalExecutor:
    """The engine that a study names."""
    settings = study.engine.get(study.executor, {})
    # A GPU that was named by its number is the only one; the type alone is all of them.
    device = str(options.device) if options.device.index else options.device.type
    return local.LocalExecutor(folder, settings, threads=study.threads, device=device, data_dir=options.place.data_dir)


def find_study(out: Path, name: str) -> StudyFolder:
    """A study by its name, or by its file."""
    folder = StudyFolder(out, Path(name).stem if name.endswith(".toml") else name)
    folder.plan()
    return folder
