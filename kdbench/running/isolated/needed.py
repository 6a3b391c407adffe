"""Which plugins of third parties a run or a training needs: the distributions that bring what it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kdbench.plugin.loader import GROUP, Plugins
from kdbench.running.needs import Needs, Node

if TYPE_CHECKING:
    from kdbench.running.lineage import Lineage
    from kdbench.running.plan import Plan

Named = Iterator[tuple[str, str]]
"""Kinds of things, and their names."""


def of_run(plan: Plan, trackers: Iterable[str]) -> list[str] | None:
    """Distributions that a run needs; None where something that it names comes from no installed one."""
    return _distributions(plan.plugins, _of_plan(plan, trackers))


def of_training(plugins: Plugins, lineage: Lineage) -> list[str] | None:
    """The same for a training, and the networks that it needs."""
    return _distributions(plugins, _of_lineage(lineage))


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
        for outside in task.outside(settings):
            yield "dataset", outside
        for attack in task.attack_names(settings):
            yield "attack", attack
    for tracker in trackers:
        yield "tracker", tracker


def _of_node(node: Node) -> Named:
    yield "method", node.method.name
    for model in (node.model, *node.other_models):
        yield "model", model
    for needed in node.needs.values():
        yield from _of_node(needed)


def _of_lineage(lineage: Lineage) -> Named:
    training = lineage.training
    yield "method", training.method
    yield "dataset", training.dataset
    for model in (training.model, *training.other_models):
        yield "model", model
    if training.noise is not None:
        yield "label noise", training.noise.kind
    for needed in lineage.needs.values():
        yield from _of_lineage(needed)


def _distributions(plugins: Plugins, names: Named) -> list[str] | None:
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
