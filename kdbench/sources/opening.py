"""From what a user calls a trained model to the network that is measured."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.data import DataFacts, DataPlace
from kdbench.errors import KdbenchError, unknown_name
from kdbench.models import Normalisation, Normalize
from kdbench.models.preprocess import Preprocessed, Preprocessing
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.sources import statistics
from kdbench.sources.classes import class_names, class_order
from kdbench.sources.spec import UNKNOWN, ModelRequest, ModelSource, OpenedModel
from kdbench.specs import Suite
from kdbench.suites import load_suite

CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""``package.module:build``, where no source has the name of the package."""


def open_model(
    source: str | Path,
    *,
    suite: str | Suite | None = None,
    model: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | None = None,
    mean: str | Sequence[float] | None = None,
    std: str | Sequence[float] | None = None,
    resize: int | None = None,
    classes: str | Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    progress: bool = False,
) -> OpenedModel:
    """A trained model, ready to be measured: in eval mode, on the CPU, from pixels in [0, 1] to the suite's logits.

    ``source`` is a file, or ``NAME:WHAT`` with the name of a registered source (``robustbench:Carmon2019Unlabeled``),
    or ``package.module:build``, a function without arguments that returns the module. ``mean`` and ``std`` (numbers by
    channel, or ``"cifar10"``, ``"cifar100"``, ``"imagenet"``, ``"none"``), ``resize`` (pixels a side) and ``classes``
    (the names of its outputs, in order) say what it expects, in place of what its source says. ``model``, ``weights``
    and ``params`` are for bare weights, a file of several and a checkpoint of kdbench.

    The result's ``preprocessing`` is what is applied, and its ``suite`` the one to measure on. Raises ``KdbenchError``
    for a model that is not there, and for what can't be right: a second normalisation, names of classes that are not
    the data set's.
    """
    if not isinstance(source, str | Path):
        what = f"open_model got a {type(source).__name__}, expected a file or NAME:WHAT"
        raise KdbenchError(what, "`kdbench.evaluate(model, suite)` measures a module that you have")
    source = str(source)
    asked = None if mean is None and std is None else (statistics.normalisation(mean, std),)
    names = class_names(classes)
    if resize is not None and not 1 <= resize <= 2048:
        raise KdbenchError(f"--resize got {resize}, expected 1 to 2048 pixels a side", "as --resize 224")
    plugins = load_plugins()
    place = DataPlace.default(data_dir, download=download, progress=progress)
    request = ModelRequest(plugins, place, suite, model, weights, params or {}, names)
    found, what = which(source, plugins)
    _refuse_unheeded(found, request)
    if suite is not None:  # before anything is downloaded
        request.check()
    opened = found.open(what, request)
    setting = request.setting(opened.dataset) if opened.suite is None or suite is not None else None
    by_name = suite.name if isinstance(suite, Suite) else suite
    named = by_name or opened.suite or (setting.name if setting else None)
    assert named is not None
    dataset = (setting or load_suite(named)).dataset
    opened = _preprocessed(opened, asked, resize, names, plugins.datasets.get(dataset).facts)
    notes = opened.notes
    if opened.dataset not in (None, dataset):
        notes += (f"it was trained for '{opened.dataset}', and is measured on '{dataset}'",)
    given = {"mean": mean, "std": std, "resize": resize, "classes": names}
    asked_for = {name: list(one) if isinstance(one, tuple) else one for name, one in given.items() if one is not None}
    return dataclasses.replace(opened, suite=named, notes=notes, asked=asked_for)


def which(source: str, plugins: Plugins) -> tuple[ModelSource, str]:
    """The source that a text names, and what is asked of it."""
    sources = plugins.model_sources
    name, colon, what = source.partition(":")
    if colon and name in sources:
        if not what:
            raise KdbenchError(f"'{source}' names no model", f"write {sources.get(name).written}")
        return sources.get(name), what
    if CODE.fullmatch(source) and not Path(source).exists():
        return sources.get("python"), source
    if colon and re.fullmatch(r"[A-Za-z0-9-]+", name) and not Path(source).exists():
        raise unknown_name("model source", name, sources, "`kdbench list model-sources` shows all")
    return sources.get("file"), source


def _refuse_unheeded(source: ModelSource, request: ModelRequest) -> None:
    """Raise ``KdbenchError`` for what was asked and this source does not heed."""
    for option, flag in (("model", "--model"), ("weights", "--weights"), ("params", "--set")):
        if getattr(request, option) and option not in source.options:
            raise KdbenchError(f"source '{source.name}' takes no {flag}", f"omit {flag}")


def _preprocessed(
    opened: OpenedModel,
    asked: tuple[Normalisation | None] | None,
    resize: int | None,
    names: tuple[str, ...] | None,
    data: DataFacts,
) -> OpenedModel:
    """The model behind what it expects. ``asked``: the normalisation that was asked for, None where none was."""
    own = opened.complete or any(isinstance(module, Normalize) for module in opened.network.modules())
    if asked is not None and asked != (None,) and own:
        raise KdbenchError(f"'{opened.source}' normalises its pixels by itself", "omit --mean and --std")
    known, notes = opened.preprocessing or UNKNOWN, opened.notes
    mean, std = (known.normalisation if asked is None else asked[0]) or (None, None)
    if opened.preprocessing is None and asked is None and not own:
        notes += ("what it expects is not known: it gets RGB in [0, 1]; --mean, --std and --resize give it others",)
    side = resize or known.resize
    outputs = names or known.classes
    ordered = class_order(outputs, data, strict=names is not None) if outputs else None
    if outputs and ordered is None and outputs != data.class_names:
        notes += (f"its classes have other names than those of '{data.name}', and are taken in their order",)
    applied = Preprocessing(
        tuple(mean) if mean is not None else None,
        tuple(std) if std is not None else None,
        None if side == data.image_size else side,
        ordered,
    )
    network = opened.network
    if applied != UNKNOWN:
        network = Preprocessed(network, applied, data.class_names)
    return dataclasses.replace(opened, network=network.eval(), preprocessing=applied, notes=notes)
