"""kdbench: how good is a training method, on every axis at once?

Everything public is here: the names below and the modules ``attacks``, ``augment``, ``corruptions``, ``data``,
``leaderboard``, ``losses``, ``metrics``, ``models``, ``noise``, ``testing`` and ``trackers``. A method in full::

    import kdbench
    from torch.nn import functional as F

    @kdbench.method("my-ce")
    def my_ce(batch, ctx, *, temperature: float = 1.0):
        \"\"\"Cross-entropy at a temperature.\"\"\"
        return F.cross_entropy(ctx.student(batch.images) / temperature, batch.labels)

    @kdbench.hookimpl
    def kdbench_register_methods():
        return [my_ce]

with an entry point in its ``pyproject.toml``::

    [project.entry-points.kdbench]
    my-ce = "my_package"

Importing kdbench is cheap: torch is loaded with the first name that needs it.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "darwin":  # torch reads it as it loads: what Apple's GPUs lack runs on the CPU, which torch says
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

if TYPE_CHECKING:
    from kdbench import (
        attacks,
        augment,
        corruptions,
        data,
        leaderboard,
        losses,
        metrics,
        models,
        noise,
        testing,
        trackers,
    )
    from kdbench.attacks.spec import AttackContext, AttackSpec, attack
    from kdbench.claims import Claim, Comparison, Measure, MethodConfig
    from kdbench.data import Dataset, DatasetSpec, ImageSet
    from kdbench.errors import KdbenchError
    from kdbench.methods.context import Batch, Context, Network, TrainSet
    from kdbench.methods.method import MeasuredOnly, Method, MethodSpec, method
    from kdbench.methods.two_networks import TwoNetworks
    from kdbench.models import ModelSpec
    from kdbench.models.preprocess import Preprocessing
    from kdbench.noise import LabelNoiseSpec
    from kdbench.plugin.hookspecs import hookimpl
    from kdbench.results.record import EvaluatedModel, Record, Score, read_record
    from kdbench.running.evaluated import Evaluation
    from kdbench.running.evaluation import evaluate
    from kdbench.running.loading import load_predictor
    from kdbench.running.runner import run
    from kdbench.sources import ModelRequest, ModelSource, OpenedModel, open_model
    from kdbench.tasks import EvaluationContext, Headline, Task, TestData
    from kdbench.trackers import Tracker, TrackerSpec

_HOMES = {
    "AttackContext": "attacks.spec",
    "AttackSpec": "attacks.spec",
    "Batch": "methods",
    "Claim": "claims",
    "Comparison": "claims",
    "Context": "methods",
    "Dataset": "data",
    "DatasetSpec": "data",
    "MethodConfig": "claims",
    "EvaluatedModel": "results.record",
    "Evaluation": "running.evaluated",
    "EvaluationContext": "tasks",
    "Headline": "tasks",
    "ImageSet": "data",
    "KdbenchError": "errors",
    "LabelNoiseSpec": "noise",
    "Measure": "claims",
    "MeasuredOnly": "methods",
    "Method": "methods",
    "MethodSpec": "methods",
    "ModelRequest": "sources",
    "ModelSource": "sources",
    "ModelSpec": "models",
    "Network": "methods",
    "OpenedModel": "sources",
    "Preprocessing": "models.preprocess",
    "Record": "results.record",
    "Score": "results.record",
    "Task": "tasks",
    "TestData": "tasks",
    "Tracker": "trackers",
    "TrackerSpec": "trackers",
    "TrainSet": "methods",
    "TwoNetworks": "methods.two_networks",
    "attack": "attacks.spec",
    "evaluate": "running.evaluation",
    "hookimpl": "plugin.hookspecs",
    "load_predictor": "running.loading",
    "method": "methods",
    "open_model": "sources",
    "read_record": "results.record",
    "run": "running.runner",
}
_MODULES = (
    "attacks",
    "augment",
    "corruptions",
    "data",
    "leaderboard",
    "losses",
    "metrics",
    "models",
    "noise",
    "testing",
    "trackers",
)

__all__ = [
    "AttackContext",
    "AttackSpec",
    "Batch",
    "Claim",
    "Comparison",
    "Context",
    "Dataset",
    "DatasetSpec",
    "EvaluatedModel",
    "Evaluation",
    "EvaluationContext",
    "Headline",
    "ImageSet",
    "KdbenchError",
    "LabelNoiseSpec",
    "Measure",
    "MeasuredOnly",
    "Method",
    "MethodConfig",
    "MethodSpec",
    "ModelRequest",
    "ModelSource",
    "ModelSpec",
    "Network",
    "OpenedModel",
    "Preprocessing",
    "Record",
    "Score",
    "Task",
    "TestData",
    "Tracker",
    "TrackerSpec",
    "TrainSet",
    "TwoNetworks",
    "attack",
    "attacks",
    "augment",
    "corruptions",
    "data",
    "evaluate",
    "hookimpl",
    "leaderboard",
    "load_predictor",
    "losses",
    "method",
    "metrics",
    "models",
    "noise",
    "open_model",
    "read_record",
    "run",
    "testing",
    "trackers",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"kdbench.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"kdbench.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'kdbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
