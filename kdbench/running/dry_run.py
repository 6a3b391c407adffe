"""The dry run: a training is set up with untrained networks, so that mistakes are reported before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from kdbench.errors import KdbenchError, named
from kdbench.running.evaluation import check_model
from kdbench.running.fingerprint import plan_fingerprint
from kdbench.running.graph import RunGraph
from kdbench.running.lineage import in_message
from kdbench.running.loading import build_network, make_method, network_builder
from kdbench.running.plan import Plan
from kdbench.shared_state import left_alone
from kdbench.specs import Training
from kdbench.training.loop import TrainingRun


def try_plan(plan: Plan, graph: RunGraph, seed: int) -> None:
    """The dry run of a method's students under every condition, and of its loss on a tiny network.

    Raises ``KdbenchError``, also where a method fails.
    """
    for condition in plan.params:
        try:
            dry_run(graph, graph.student(condition, plan.method, plan.params_passed, seed), condition)
        except KdbenchError:
            raise
        except (Exception, SystemExit) as failure:  # anybody's method
            hint = f"`kdbench run --method {plan.method}` keeps where; mend it or leave it out"
            raise KdbenchError(
                f"method '{plan.method}' fails before it is trained: {named(failure)}", hint
            ) from failure
    plan_fingerprint(plan)  # each run makes its own


def dry_run(graph: RunGraph, spec: Training, condition: str) -> None:
    """Set a training up, and all that it needs, on the CPU with untrained networks, unless it is finished.

    What only networks show of a mistake is an error here, in a moment, before any of them is trained. Its message
    begins with the condition and the roles on the way to the network that it is a mistake in.
    """
    if graph.is_finished(spec):
        return
    train, _ = graph.train_set(condition)

    def untrained(training: Training, networks: Mapping[str, nn.Module]) -> nn.Module:
        with left_alone(f"method '{training.method}'"):
            method = make_method(graph.plugins, training)
            student = build_network(graph.plugins, training, train.num_classes)
            build = network_builder(graph.plugins, training, train.num_classes)
            return TrainingRun(training, method, student, train, networks, torch.device("cpu"), build).predictor()

    with torch.random.fork_rng(devices=[]), in_message(condition):
        predictor = untrained(spec, graph.lineage(spec).networks(untrained))
        check_model(predictor, graph.dataset, torch.device("cpu"))
