"""What needs more than a record: the data it was measured on, and the students' checkpoints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kdbench.data import DataPlace, Dataset, load_dataset
from kdbench.devices import forked_random_numbers
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256
from kdbench.inference.prediction import folded_copy, predict
from kdbench.plugin.loader import load_plugins
from kdbench.report.runs import Run
from kdbench.running.loading import load_predictor
from kdbench.running.train_set import training_labels
from kdbench.tasks.context import TrainingLabels


@dataclasses.dataclass(eq=False)
class Bench:
    """The data of the runs' suite and their students, on one device; each is read when it is first asked for.

    What is not available, or not what a record was made with, is a ``KdbenchError``.
    """

    runs: Sequence[Run]
    place: DataPlace
    device: torch.device

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The suite's data, checked to be those of every record."""
        suite, plugins = self.runs[0].record.spec.suite, load_plugins()
        try:
            dataset = load_dataset(plugins.datasets.get(suite.dataset), self.place)
        except KdbenchError as error:
            message = f"the data of '{suite.dataset}' are not available: {error.message}"
            raise KdbenchError(message, error.hint) from None
        for run in self.runs:
            if run.record.hashes.datasets.get(dataset.name) != dataset.sha256:
                raise KdbenchError(
                    f"the available images of '{dataset.name}' are not those that {run.label} was measured on"
                )
        return dataset

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; () for a data set that is not installed."""
        suite, datasets = self.runs[0].record.spec.suite, load_plugins().datasets
        return tuple(datasets.get(suite.dataset).class_names) if suite.dataset in datasets.names() else ()

    @functools.cache  # noqa: B019  # a bench lives as long as its report
    def predictor(self, run: Run, condition: str) -> nn.Module:
        """What was measured: pixels in [0, 1] to logits, frozen."""
        network = load_predictor(run.checkpoint(condition), device=self.device)
        return folded_copy(network, self.dataset.test.images, self.device)

    @functools.cache  # noqa: B019  # as above
    def probabilities(self, run: Run, condition: str) -> NDArray[np.float64]:
        """Softmax outputs (N, C) on all test images."""
        network = self.predictor(run, condition)
        with forked_random_numbers(self.device):
            torch.manual_seed(0)
            logits = predict(network, self.dataset.test.images, device=self.device)
        return np.asarray(logits.double().softmax(1).numpy())

    def training_labels(self, run: Run, condition: str) -> TrainingLabels:
        """The condition's training set with both kinds of labels, checked against the record's hash."""
        setting = run.record.spec.suite.condition(condition)
        facts = run.record.hashes.label_noise.get(condition)
        if setting.noise is None or facts is None:
            raise KdbenchError(f"{condition} of {run.label} has no label noise")
        found = training_labels(self.dataset, setting, load_plugins().label_noises, Path(), self.place)
        if integers_sha256(found.observed) != facts.sha256:
            raise KdbenchError(f"the noisy labels of {condition} are not those that {run.label} was trained on")
        return found
