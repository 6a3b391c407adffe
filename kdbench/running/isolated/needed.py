"""Which plugins of third parties a run, a training or a measurement needs: who brings what it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kdbench.plugin.loader import GROUP, Plugins
from kdbench.running.needs import Needs, Node

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.running.lineage import Lineage
    from kdbench.running.plan import Plan
    from kdbench.specs import Suite
    from kdbench.tasks import Task

Named = Iterator[tuple[str, str]]
"""Kinds of things, and their names."""


def of_run(plan: Plan, trackers: Iterable[str]) -> list[str] | None:
    """Distributions that a run needs; None where something that it names comes from no installed one."""
    return distributions(plan.plugins, _of_plan(plan, trackers))


def of_training(plugins: Plugins, lineage: Lineage) -> list[str] | None:
    """The same for a training, and the networks that it needs."""
    return distributions(plugins, of_lineage(lineage))


def of_measuring(plugins: Plugins, suite: Suite, tasks: Iterable[str] | None, attacks: Iterable[str] | None) -> Named:
    """What measuring any network on a suite names: ``tasks`` None for all of the suite's, and ``attacks`` besides.

    Raises ``KdbenchError`` where it must raise itself.
    """
    from kdbench.tasks.attack import with_attacks

    suite, wanted = with_attacks(suite, tasks, attacks, everywhere=True)
    for name in (suite.dataset, *suite.ood):
        yield "dataset", name
    for condition in suite.conditions.values():
        if condition.noise is not None:
            yield "label noise", condition.noise.kind
    for name in suite.tasks if wanted is None else wanted:
        yield "task", name
        task = plugins.tasks.find(name)
        if task is None:
            continue
        settings = task.settings_in(suite)
        yield from _of_task(task, settings)
        for role in task.sources(settings):
            for label in suite.conditions:
                yield from _of_node(Needs(suite, plugins, label).network(role))


def of_record(plugins: Plugins, record: Record) -> Named:
    """What measuring a record again, or training it again, names. Raises as ``of_measuring``."""
    spec = record.spec
    yield "model", spec.suite.student
    yield from of_measuring(plugins, spec.suite, list(spec.tasks), None)
    if record.evaluated is not None:
        if record.evaluated.architecture is not None:
            yield "model", record.evaluated.architecture
        return
    yield "method", spec.method
    for condition in spec.params:
        needs = Needs(spec.suite, plugins, condition)
        yield from _of_node(needs.student(spec.method, record.params_passed, spec.seed))


def _of_plan(plan: Plan, trackers: Iterable[str]) -> Named:
    suite = plan.suite
    for condition in plan.params:
        needs = Needs(suite, plan.plugins, condition)
        yield from _of_node(needs.student(plan.method, plan.params_passed, 0))
        for role in plan.roles(condition):
            yield from _of_node(needs.network(role))
        noise = suite.condition(condition).noise
        if noise is not None:
            yield "label noise", noise.kind
    yield "model", suite.student
    for network in suite.networks.values():
        yield "model", network.model
    for name in (suite.dataset, *suite.ood):
        yield "dataset", name
    for name, (task, settings) in plan.tasks.items():
        yield "task", name
        yield from _of_task(task, settings)
    for tracker in trackers:
        yield "tracker", tracker


def _of_task(task: Task, settings: Any) -> Named:
    for outside in task.outside(settings):
        yield "dataset", outside
    for attack in task.attack_names(settings):
        yield "attack", attack


def _of_node(node: Node) -> Named:
    yield "method", node.method.name
    for model in (node.model, *node.other_models):
        yield "model", model
    for needed in node.needs.values():
        yield from _of_node(needed)


def of_lineage(lineage: Lineage) -> Named:
    """What a training names, and those of the networks that it needs."""
    training = lineage.training
    yield "method", training.method
    yield "dataset", training.dataset
    for model in (training.model, *training.other_models):
        yield "model", model
    if training.noise is not None:
        yield "label noise", training.noise.kind
    for needed in lineage.needs.values():
        yield from of_lineage(needed)


def distributions(plugins: Plugins, names: Iterable[tuple[str, str]]) -> list[str] | None:
    """Of third parties, that bring these; None where one of them comes from no installed one."""
    registries = {registry.kind: registry for registry in plugins.registries()}
    installed, found = set(plugins.loaded.values()), set[str]()
    for kind, name in set(names):
        if registries[kind].find(name) is None:  # an out-of-distribution set that nobody brought, say
            continue
        origin = registries[kind].origin(name)
        if origin not in installed:
            return None
        found.add(origin.partition(" ")[0])
    return sorted(found - {GROUP})
