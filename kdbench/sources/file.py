"""A checkpoint on this machine: kdbench's own, weights of a named architecture, or an exported program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench import models
from kdbench.checkpoints import Weights, brings_normalisation, fit_to, fitting_architectures, read_weights
from kdbench.checkpoints.formats import kind_of
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.models.preprocess import Preprocessing
from kdbench.plugin.registry import Registry
from kdbench.running.loading import lineage_of, load_predictor
from kdbench.sources.exported import open_exported
from kdbench.sources.spec import ModelRequest, OpenedModel
from kdbench.specs import Suite, Training
from kdbench.suites import load_suite
from kdbench.training.checkpoint import load_checkpoint


def open_file(what: str, request: ModelRequest) -> OpenedModel:
    """The model in a file. A bare state dict may carry its normalisation (``kdbench.models``), or get the suite's."""
    path = Path(what).expanduser()
    if path.suffix == ".pt2" and path.is_file():
        return open_exported(path, path.name, request)
    return open_weights(path, path.name, request)


def open_weights(path: Path, source: str, request: ModelRequest) -> OpenedModel:
    """A checkpoint of kdbench, which knows all of itself, or the weights of the architecture that is asked for."""
    metadata = load_checkpoint(path)[1] if kind_of(path) == "safetensors" else {}
    return _own(path, source, request, metadata) if metadata else _foreign(path, source, request)


def _own(path: Path, source: str, request: ModelRequest, metadata: Mapping[str, Any]) -> OpenedModel:
    if request.weights is not None:
        raise KdbenchError(f"checkpoint {path} is kdbench's own, it has no '{request.weights}'", "omit --weights")
    spec = lineage_of(path, metadata).training
    if request.model not in (None, spec.model):
        raise KdbenchError(
            f"checkpoint {path} is of another architecture, {spec.model}, not {request.model}", "omit --model"
        )
    setting = load_suite(request.suite or spec.suite)
    return OpenedModel(
        load_predictor(path, params=request.params, plugins=request.plugins),
        source,
        file_sha256(path),
        suite=spec.suite,
        condition=_condition_of(spec, setting),
        preprocessing=Preprocessing(),
        complete=True,
        params=request.params,
    )


def _foreign(path: Path, source: str, request: ModelRequest) -> OpenedModel:
    """Weights that somebody else saved; with the suite's normalisation in front where they bring none."""
    weights, architectures = read_weights(path, key=request.weights), request.plugins.models
    if request.model is None:
        raise KdbenchError(f"checkpoint {path} is a plain state dict", _which(weights, architectures))
    if request.params:
        raise KdbenchError(f"checkpoint {path} is a plain state dict, it has no method's parameters", "omit --set")
    setting = request.setting()
    classes = request.classes or request.data(setting).class_names
    own = brings_normalisation(weights)
    network = models.build(
        architectures.get(request.model),
        num_classes=len(classes),
        normalisation=((0.0,) * 3, (1.0,) * 3) if own else None,  # a place for its own
    )
    try:
        fitted = fit_to(network, weights)
    except KdbenchError as error:
        hint = _which(weights, architectures) if "--model" in error.hint else error.hint
        raise KdbenchError(error.message, hint) from None
    usual = setting.mean and setting.std and not own
    return OpenedModel(
        network,
        source,
        weights.sha256,
        preprocessing=Preprocessing(setting.mean, setting.std) if usual else Preprocessing(),
        complete=own,
        architecture=request.model,
        weights=weights.key,
        stripped=weights.stripped,
        notes=(*weights.notes, *fitted),
    )


def _which(weights: Weights, architectures: Registry[models.ModelSpec]) -> str:
    """What to do about weights of an unknown architecture, with those that they fit."""
    fitting = fitting_architectures(weights, [architectures.get(name) for name in architectures])
    return "name its architecture with --model" + (f"; they fit {' or '.join(fitting)}" if fitting else "")


def _condition_of(spec: Training, suite: Suite) -> str | None:
    for name, condition in suite.conditions.items():
        known = condition.without_path()  # as in the checkpoint
        if (known.noise, known.train_size) == (spec.noise, spec.train_size):
            return name
    return None
