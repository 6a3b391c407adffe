"""A checkpoint on this machine: kdbench's own, weights of a named architecture, or an exported program."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.models.preprocess import Preprocessing
from kdbench.running.loading import lineage_of, load_predictor, load_weights
from kdbench.sources.exported import open_exported
from kdbench.sources.spec import ModelRequest, OpenedModel
from kdbench.specs import Suite, Training
from kdbench.suites import load_suite
from kdbench.training.checkpoint import load_checkpoint


def open_file(what: str, request: ModelRequest) -> OpenedModel:
    """The model in a file. A bare state dict may carry its normalisation (``kdbench.models``), or get the suite's."""
    path = Path(what).expanduser()
    if not path.is_file():
        raise KdbenchError(f"no checkpoint at {path}", "give the path of a .safetensors, .pt, .pth or .pt2 file")
    if path.suffix == ".pt2":
        return open_exported(path, what, request)
    return open_weights(path, what, request)


def open_weights(path: Path, source: str, request: ModelRequest) -> OpenedModel:
    """A checkpoint of kdbench, which knows all of itself, or the weights of the architecture that is asked for."""
    metadata = load_checkpoint(path)[1] if path.suffix == ".safetensors" else {}
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
    setting = request.setting()
    spec_of_model = request.plugins.models.get(request.model)
    classes = request.classes or request.data(setting).class_names
    return _filled(models.build(spec_of_model, num_classes=len(classes)), path, source, setting)


def _filled(model: models.PixelModel, path: Path, source: str, suite: Suite) -> OpenedModel:
    """An untrained network with the weights of a file."""
    state, _ = load_checkpoint(path)
    whole = any(name.startswith("network.") for name in state)
    own = "normalise.mean" in state
    if own:
        channels = state["normalise.mean"].numel()
        model.normalise = models.Normalize([0.0] * channels, [1.0] * channels)
    network: nn.Module = model if whole else model.network
    load_weights(network, state, path)
    known = Preprocessing(suite.mean, suite.std) if not whole and suite.mean and suite.std else Preprocessing()
    return OpenedModel(network, source, file_sha256(path), preprocessing=known, complete=own)


def _condition_of(spec: Training, suite: Suite) -> str | None:
    for name, condition in suite.conditions.items():
        if (condition.noise, condition.train_size) == (spec.noise, spec.train_size):
            return name
    return None
