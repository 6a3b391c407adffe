"""A checkpoint on this machine: kdbench's own, weights of a named architecture, or an exported program."""

from __future__ import annotations

from pathlib import Path

from kdbench import models
from kdbench.checkpoints import brings_normalisation, fit_to, read_weights
from kdbench.checkpoints.formats import kind_of
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.models.preprocess import Preprocessing
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
        return open_exported(path, what, request)
    return open_weights(path, what, request)


def open_weights(path: Path, source: str, request: ModelRequest) -> OpenedModel:
    """A checkpoint of kdbench, which knows all of itself, or the weights of the architecture that is asked for."""
    metadata = load_checkpoint(path)[1] if kind_of(path) == "safetensors" else {}
    if metadata or request.model is None:
        spec = lineage_of(path, metadata).training
        if request.model not in (None, spec.model):
            raise KdbenchError(
                f"checkpoint {path} is of another architecture, {spec.model}, not {request.model}", "omit --model"
            )
        network = load_predictor(path, params=request.params, plugins=request.plugins)
        setting = load_suite(request.suite or spec.suite)
        return OpenedModel(
            network,
            source,
            file_sha256(path),
            suite=spec.suite,
            condition=_condition_of(spec, setting),
            preprocessing=Preprocessing(),
            complete=True,
        )
    if request.params:
        raise KdbenchError(f"checkpoint {path} is a plain state dict, it has no method's parameters", "omit --set")
    weights = read_weights(path, key=request.weights)
    setting = request.setting()
    classes = request.classes or request.data(setting).class_names
    own = brings_normalisation(weights)
    network = models.build(
        request.plugins.models.get(request.model),
        num_classes=len(classes),
        normalisation=((0.0,) * 3, (1.0,) * 3) if own else None,  # a place for its own
    )
    fitted = fit_to(network, weights)
    usual = setting.mean and setting.std and not own
    return OpenedModel(
        network,
        source,
        weights.sha256,
        preprocessing=Preprocessing(setting.mean, setting.std) if usual else Preprocessing(),
        complete=own,
        weights=weights.key,
        stripped=weights.stripped,
        notes=(*weights.notes, *fitted),
    )


def _condition_of(spec: Training, suite: Suite) -> str | None:
    for name, condition in suite.conditions.items():
        if (condition.noise, condition.train_size) == (spec.noise, spec.train_size):
            return name
    return None
