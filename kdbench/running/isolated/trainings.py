"""A training in a process of its own: asked for where plugins of third parties are loaded, and done there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError
from kdbench.running.isolated.client import ask
from kdbench.running.isolated.needed import of_training
from kdbench.running.isolated.node import options_as_values
from kdbench.running.isolated.state import Process, possible
from kdbench.running.lineage import Lineage
from kdbench.specs import Training

if TYPE_CHECKING:
    from kdbench.running.graph import RunGraph
    from kdbench.running.options import RunOptions


def train_apart(
    graph: RunGraph, lineage: Lineage, condition: str, label: str, folder: Path, on_epoch: Callable[[], None]
) -> bool:
    """Have a training done in a process that loads what it needs; false where this process is to do it: no plugin of a
    third party is loaded here, or it was made for this training, or something of it comes from no distribution."""
    spec = lineage.training
    if not graph.plugins.others() or not possible() or Process.node == spec.digest():
        return False
    plugins = of_training(graph.plugins, lineage)
    if plugins is None:
        return False
    job = {
        "kind": "train",
        "node": spec.digest(),
        "suite": graph.suite.model_dump(mode="json"),
        "lineage": _values(lineage),
        "condition": condition,
        "label": label,
        "work": str(folder),
        "options": options_as_values(graph.options),
    }
    ask(job, plugins, on_epoch=on_epoch)
    return True


def train_here(job: Mapping[str, Any], options: RunOptions, on_epoch: Callable[[], None]) -> None:
    """Do it, in the process that was made for it.

    Raises:
        KdbenchError: what is installed or the data are not what the training was planned with.
    """
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.graph import RunGraph
    from kdbench.running.suite_data import load_suite_data
    from kdbench.specs import Suite

    suite, plugins = Suite.model_validate(job["suite"]), load_plugins()
    data = load_suite_data(suite, plugins, options.place, ood=False, corrupted=False)
    graph = RunGraph(suite, data.dataset, plugins, options)
    lineage = _lineage(job["lineage"])
    graph.adopt(lineage)
    _check(graph, lineage.training, job["condition"])
    graph.train(lineage, job["condition"], job["label"], Path(job["work"]), on_epoch)


def _check(graph: RunGraph, spec: Training, condition: str) -> None:
    """What a training says of its ingredients is so here: who planned it does not decide what its digest stands for."""
    here = {
        "method": (spec.method_source, graph.plugins.methods.get(spec.method).source),
        "network": (spec.model_source, graph.model_source(spec.model)),
        "training images": (spec.dataset_sha256, graph.images_sha256()),
        "labels": (spec.labels_sha256, graph.labels_sha256(condition)),
    }
    for what, (planned, found) in here.items():
        if planned != found:
            raise KdbenchError(f"{spec.method}: the {what} changed since it was planned", "run the same command again")


def _values(lineage: Lineage) -> dict[str, Any]:
    return {
        "training": lineage.training.model_dump(mode="json"),
        "needs": {role: _values(needed) for role, needed in lineage.needs.items()},
        "suite_role": lineage.suite_role,
    }


def _lineage(values: Mapping[str, Any]) -> Lineage:
    needs = {role: _lineage(needed) for role, needed in values["needs"].items()}
    return Lineage(Training.model_validate(values["training"]), needs, values["suite_role"])
