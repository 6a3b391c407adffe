"""The run graph: every network a run needs is a training with a hash; each is trained once and found again by it."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from kdbench import models
from kdbench.checkpoint import file_sha256, load_checkpoint, locked
from kdbench.data import Dataset, ImageSet, stratified_subset
from kdbench.devices import resolve_precision
from kdbench.errors import KdbenchError
from kdbench.methods import MethodSpec, source_hash
from kdbench.noise import apply, label_hash
from kdbench.plugins import Plugins
from kdbench.progress import bar
from kdbench.records import NoiseFacts, TrainedNetwork
from kdbench.specs import Suite, Training, first_problem
from kdbench.training import Monitor, TrainSet, context, derive_seed, fit

MONITOR_SIZE = 2000
"""Test images whose accuracy is logged after each epoch."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training: where it lies and what to say of it."""

    spec: Training
    folder: Path
    reused: bool

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def describe(self) -> TrainedNetwork:
        """What the record says of this network."""
        return TrainedNetwork(
            training=self.spec.digest(),
            sha256=file_sha256(self.checkpoint),
            precision=self.spec.recipe.precision,
            seconds=round(sum(entry["seconds"] for entry in read_log(self.folder)), 3),
            reused=self.reused,
        )


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The log of a training, one entry an epoch; [] for one that has not begun."""
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclasses.dataclass(eq=False)
class RunGraph:
    """The trainings of one suite on one data set, kept under ``folder``."""

    suite: Suite
    dataset: Dataset
    plugins: Plugins
    folder: Path
    device: torch.device
    progress: bool = False

    def student(self, condition: str, method: str, params: Mapping[str, Any], seed: int) -> Training:
        """The training of a method's student under a condition."""
        return self._training(condition, method, self.suite.student, params, seed)

    def network(self, condition: str, role: str) -> Training:
        """The training of the suite's teacher or another of its networks, on the labels of that condition.

        Its seed is the suite's, mixed with its role: no student's seed makes the same network.
        """
        spec = self.suite.network(role)
        return self._training(condition, spec.method, spec.model, spec.params, derive_seed(spec.seed, role))

    def _training(self, condition: str, method: str, model: str, params: Mapping[str, Any], seed: int) -> Training:
        setting = self.suite.condition(condition)
        spec: MethodSpec = self.plugins.methods.get(method)
        resolved, tuned = spec.resolve(params, suite=self.suite.name, dataset=self.suite.dataset, condition=setting)
        tuned["precision"] = resolve_precision(setting.recipe.precision, self.device)
        try:
            recipe = setting.recipe.model_validate({**setting.recipe.model_dump(), **tuned})
        except ValidationError as error:
            raise KdbenchError(f"method '{method}', recipe {first_problem(error)}", "mend its recipes.toml") from None
        train, facts = self.train_set(condition)
        return Training(
            suite=self.suite.name,
            dataset=self.suite.dataset,
            dataset_sha256=self._train_images().sha256,
            train_size=setting.train_size,
            subset_seed=setting.subset_seed,
            noise=setting.noise,
            labels_sha256=facts.sha256 if facts else label_hash(train.labels),
            model=model,
            model_source=source_hash(self.plugins.models.get(model).build),
            mean=self.suite.mean,
            std=self.suite.std,
            flip=self.suite.flip,
            recipe=recipe,
            method=method,
            method_source=spec.source,
            params=resolved,
            seed=seed,
            device=self.device.type,
            needs={role: self.network(condition, role).digest() for role in sorted(spec.needs)},
        )

    def _train_images(self) -> ImageSet:
        if self.dataset.train is None:
            raise KdbenchError(f"dataset '{self.dataset.name}' has no training images", "name one that has")
        return self.dataset.train

    @functools.cache  # noqa: B019  # a graph lives as long as its run, and a suite has a few conditions
    def train_set(self, name: str) -> tuple[TrainSet, NoiseFacts | None]:
        """Training images with labels as observed under a condition, and what the noise did to them.

        Image sets are sorted by class, so they are shuffled here, always in the same way: an example's index tells
        nothing of its clean label.
        """
        condition, source = self.suite.condition(name), self._train_images()
        index = torch.arange(len(source))
        if condition.train_size is not None:
            index = stratified_subset(source.labels, min(condition.train_size, len(source)), condition.subset_seed)
        order = torch.Generator().manual_seed(derive_seed(condition.subset_seed, "shuffle"))
        index = index[torch.randperm(len(index), generator=order)]
        images, labels, classes = source.images[index], source.labels[index], len(self.dataset.class_names)
        noise = condition.noise
        if noise is None:
            return TrainSet(images, labels, classes), None
        noisy = apply(self.plugins.label_noises.get(noise.kind), labels, noise.rate, classes, noise.seed)
        facts = NoiseFacts(
            kind=noise.kind, rate=noise.rate, seed=noise.seed, realised=noisy.realised, sha256=noisy.sha256
        )
        return TrainSet(images, noisy.labels, classes), facts

    def path(self, spec: Training) -> Path:
        """Where a training is kept."""
        return self.folder / f"{spec.method}-{spec.model}-{spec.digest()}"

    def ensure(self, spec: Training, condition: str, label: str, *, fresh: bool = False) -> Trained:
        """Train what is not trained yet, needs first; ``fresh`` trains this one anew.

        One process at a time trains a network; another that needs it waits and finds it.
        """
        folder = self.path(spec)
        with locked(folder.parent / f"{folder.name}.lock"):
            if fresh and folder.exists():
                shutil.rmtree(folder)
            trained = Trained(spec, folder, reused=True)
            if trained.checkpoint.exists() and self._intact(trained):
                return trained
            self._train(spec, condition, label)
        return Trained(spec, folder, reused=False)

    def _train(self, spec: Training, condition: str, label: str) -> None:
        networks = {role: self.load(self.ensure(self.network(condition, role), condition, role)) for role in spec.needs}
        train, _ = self.train_set(condition)
        with bar(f"train {label} ({condition})", shown=self.progress) as update:
            fit(
                spec,
                self.plugins.methods.get(spec.method).make(spec.params),
                build_network(self.plugins, spec, train.num_classes),
                train,
                networks,
                folder=self.path(spec),
                device=self.device,
                monitor=self._monitor(),
                on_epoch=lambda entry: update(
                    entry["epoch"] / spec.recipe.epochs, f"loss {entry['loss']:.3f} test {entry['test_accuracy']:.3f}"
                ),
            )

    def _intact(self, trained: Trained) -> bool:
        try:
            load_checkpoint(trained.checkpoint)
        except KdbenchError as error:
            warnings.warn(f"{error.message}: it is trained again", stacklevel=2)
            trained.checkpoint.unlink()
            return False
        return True

    def _monitor(self) -> Monitor:
        test = self.dataset.test
        index = stratified_subset(test.labels, min(MONITOR_SIZE, len(test)), 0)
        return Monitor(test.images[index], test.labels[index])

    def load(self, trained: Trained) -> nn.Module:
        """The predictor of a finished training: eval mode, frozen, on the device."""
        return load_predictor(trained.checkpoint, device=self.device, plugins=self.plugins)

    def shared(self, condition: str, roles: Iterable[str]) -> dict[str, Trained]:
        """The suite's networks of these roles under a condition, trained."""
        return {role: self.ensure(self.network(condition, role), condition, role) for role in sorted(set(roles))}


def build_network(plugins: Plugins, spec: Training, num_classes: int) -> nn.Module:
    """The untrained network of a training, initialised from its seed."""
    normalisation = (spec.mean, spec.std) if spec.mean and spec.std else None
    return models.build(
        plugins.models.get(spec.model),
        num_classes=num_classes,
        normalisation=normalisation,
        seed=derive_seed(spec.seed, "init"),
    )


def load_predictor(path: Path, *, device: torch.device | None = None, plugins: Plugins | None = None) -> nn.Module:
    """The network that a checkpoint of ours says is to be evaluated: eval mode, frozen, pixels in [0, 1] to logits."""
    from kdbench.plugins import load_plugins

    plugins = plugins or load_plugins()
    tensors, metadata = load_checkpoint(path)
    spec = training_of(path, metadata)
    name = metadata["predictor"]
    network = build_network(plugins, spec, metadata["num_classes"])
    if name != "student":
        network = _owned_network(plugins, spec, network, metadata)
    own = {key.removeprefix(name + "."): tensor for key, tensor in tensors.items() if key.startswith(name + ".")}
    load_weights(network, own, path)
    return ready(network, device)


def training_of(path: Path, metadata: Mapping[str, Any]) -> Training:
    """What a checkpoint of ours says of its training."""
    if not metadata:
        raise KdbenchError(f"checkpoint {path} is a plain state dict", "name its architecture with --model")
    try:
        missing = {"predictor", "num_classes", "train_size", "mean"} - metadata.keys()
        if missing:
            raise KeyError(*sorted(missing)[:1])
        return Training.model_validate(metadata["training"])
    except (ValidationError, KeyError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else f"no {error}"
        raise KdbenchError(
            f"checkpoint {path} was made by another version of kdbench ({problem})", "train it again"
        ) from None


def _owned_network(plugins: Plugins, spec: Training, student: nn.Module, metadata: Mapping[str, Any]) -> nn.Module:
    """The untrained network of a method that is evaluated in the student's place, such as its EMA copy."""
    method = plugins.methods.get(spec.method).make(spec.params)
    mean = tuple(metadata["mean"])
    size, cpu = metadata["train_size"], torch.device("cpu")
    ctx = context(spec, student, {}, metadata["num_classes"], train_size=size, mean=mean, device=cpu)
    method.setup(ctx)
    return method.networks()[metadata["predictor"]]


def load_weights(network: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load a state dict strictly; another architecture is one line that says what does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected == found:
        network.load_state_dict(dict(state))
        return
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    first = differing[0]
    raise KdbenchError(
        f"checkpoint {path} is of another architecture: {len(differing)} of {len(expected)} tensors differ, such as "
        f"{first} (found {found.get(first, 'none')}, expected {expected.get(first, 'none')})",
        "name the right one with --model",
    )


def ready(network: nn.Module, device: torch.device | None = None) -> nn.Module:
    """A network for evaluation: eval mode, frozen, in the memory layout that convolutions like best."""
    network = network.eval().requires_grad_(False).to(device or torch.device("cpu"))
    network.to(memory_format=torch.channels_last)
    return network
