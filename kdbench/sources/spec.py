"""What a plugin registers as a source of trained models, what it is asked, and what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from kdbench.data import DataFacts, DataPlace
from kdbench.data.download import fetch_unchecked
from kdbench.errors import KdbenchError
from kdbench.models.preprocess import Preprocessing
from kdbench.plugin.loader import Plugins
from kdbench.results.record import EvaluatedModel
from kdbench.sources.classes import class_order
from kdbench.specs import Suite
from kdbench.suites import load_suite
from kdbench.suites.reading import read_suite

Option = Literal["model", "weights", "params"]
UNKNOWN = Preprocessing()
"""What a network is given where nobody knows what it expects: RGB in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class ModelRequest:
    """What is asked of a source, beside the name."""

    plugins: Plugins
    place: DataPlace
    """Where downloads are kept, and whether there may be any."""
    suite: str | Suite | None = None
    """What the model is to be measured on, None where the source is to say."""
    model: str | None = None
    """Architecture of bare weights."""
    weights: str | None = None
    """Which of several weights in one file."""
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of the model's method that only matter when it is measured."""
    classes: tuple[str, ...] | None = None
    """How the caller says that its outputs are called."""

    def folder(self, source: str) -> Path:
        """Where a source may keep what it downloads."""
        return self.place.cache_dir / "models" / source

    def setting(self, dataset: str | None = None) -> Suite:
        """The suite that a model is measured on: the one asked for, else that of its own data set's name.

        A model of an unknown data set is measured on ``digits``. Raises ``KdbenchError`` where no suite has the data
        set's name: they differ in what they measure, and the choice is the caller's.
        """
        suites = self.plugins.suites
        if self.suite is not None or dataset is None or dataset in suites:
            return load_suite(self.suite or dataset or "digits")
        fitting = [name for name in suites if read_suite(suites.get(name)).dataset == dataset]
        raise KdbenchError(
            f"the model was trained for '{dataset}', and no suite has that name",
            f"choose one with --suite: {', '.join(fitting)}" if fitting else "name a suite of your own with --suite",
        )

    def data(self, suite: Suite) -> DataFacts:
        """The data set of a suite, before its images are read."""
        return self.plugins.datasets.get(suite.dataset).facts

    def check(self, dataset: str | None = None, classes: tuple[str, ...] | None = None) -> None:
        """Raise ``KdbenchError`` where a model of this data set and these classes can't be measured as asked.

        For a source to call before it downloads.
        """
        names, facts = self.classes or classes, self.data(self.setting(dataset))
        if names is not None:
            class_order(names, facts, strict=self.classes is not None)

    def download(self, url: str, target: Path, what: str) -> Path:
        """The file at ``target``, which is downloaded where it is not there."""
        if target.is_file():
            return target
        if not self.place.download:
            raise KdbenchError(f"{what} is not at {target}, and downloads are off", f"put {url} there")
        return fetch_unchecked(url, target, progress=self.place.progress)


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A trained model, and all that is known of it."""

    network: nn.Module
    """Float32 pixels (B, 3, H, W), as ``preprocessing`` says, to logits (B, C)."""
    source: str
    """How it is asked for again, with nothing left open: of a hub the commit, of a zoo the data set. A file's name."""
    sha256: str
    """Of the file with the weights, of several over their hashes, of a network made by code over its state dict."""
    suite: str | None = None
    """What it is measured on unless the caller says otherwise."""
    dataset: str | None = None
    """The data set that it was trained for, where that is known and the suite is not."""
    condition: str | None = None
    """Of the suite: how it was trained, where that is known."""
    preprocessing: Preprocessing | None = None
    """What it expects; None: that is not known. ``classes`` stays None where they have no names."""
    complete: bool = False
    """It normalises by itself, so that a normalisation in front of it would be a second one."""
    architecture: str | None = None
    """Registered name of the network that bare weights were loaded into."""
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of its method that were heeded."""
    weights: str | None = None
    """Which of several weights in one file these are."""
    stripped: tuple[str, ...] = ()
    """Prefixes that were taken off the names of its tensors."""
    notes: tuple[str, ...] = ()
    """What its user should know, a sentence each."""
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the caller said that it expects, by the names of ``open_model``'s arguments."""

    def evaluated(self) -> EvaluatedModel:
        """What a record keeps of it."""
        return EvaluatedModel(
            source=self.source,
            sha256=self.sha256,
            weights=self.weights,
            stripped=self.stripped,
            architecture=self.architecture,
            params=dict(self.params),
            preprocessing={"asked": dict(self.asked)} if self.asked else {},
        )


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A place of trained models: ``kdbench evaluate NAME:WHAT``.

    ``open(what, request)`` finds one model there, on the CPU. It checks what can be checked before it downloads, and
    downloads only where ``request.place.download`` allows it. Raises ``KdbenchError`` for a model that is not there.
    """

    name: str
    """What stands before the colon."""
    open: Callable[[str, ModelRequest], OpenedModel]
    description: str
    """One line for ``kdbench list model-sources``."""
    written: str = ""
    """How a model of it is asked for: ``robustbench:NAME``."""
    options: tuple[Option, ...] = ()
    """Which of the request it heeds; another one is refused before it is asked."""
