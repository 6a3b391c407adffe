"""The run graph: every network a run needs is a training with a hash; each is trained once and found again by it."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn

from kdbench.data import Dataset, stratified_subset
from kdbench.devices import resolve_precision
from kdbench.errors import KdbenchError
from kdbench.files import check_archive, file_sha256
from kdbench.hashes import integers_sha256
from kdbench.inference.prediction import NotFiniteError
from kdbench.locks import locked
from kdbench.methods.context import TrainSet
from kdbench.methods.source import source_hash
from kdbench.plugin.loader import Plugins
from kdbench.progress import bar, say
from kdbench.results.record import NoiseFacts, TrainedNetwork
from kdbench.running.isolated.trainings import train_apart
from kdbench.running.lineage import Lineage
from kdbench.running.loading import build_network, load_predictor, make_method, network_builder
from kdbench.running.needs import Needs, Node, is_extended
from kdbench.running.options import RunOptions
from kdbench.running.train_set import check_condition, train_images, train_set, training_labels
from kdbench.sealed import FRESH, Sealed, mend
from kdbench.shared_state import left_alone
from kdbench.specs import Suite, Training, Watch
from kdbench.tasks.context import TrainingLabels
from kdbench.training.checkpoint import CHECKPOINT, RESUME, load_checkpoint
from kdbench.training.compiling import compiler_for
from kdbench.training.log import LOG, LogError, read_log
from kdbench.training.loop import fit
from kdbench.training.monitor import SOFTMAX, Monitor

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
        return self.folder / CHECKPOINT

    def describe(self) -> TrainedNetwork:
        """What the record says of this network."""
        log = read_log(self.folder)
        return TrainedNetwork(
            training=self.spec.digest(),
            sha256=file_sha256(self.checkpoint),
            precision=self.spec.recipe.precision,
            seconds=round(sum(entry["seconds"] for entry in log), 3),
            reused=self.reused,
            threads=sorted({entry["threads"] for entry in log if "threads" in entry}),
        )


@dataclasses.dataclass(eq=False)
class RunGraph:
    """The trainings of one suite on one data set."""

    suite: Suite
    dataset: Dataset
    plugins: Plugins
    options: RunOptions
    _planned: dict[str, Lineage] = dataclasses.field(default_factory=dict, repr=False)
    """By the digest of the training."""

    @property
    def device(self) -> torch.device:
        return self.options.device

    @property
    def folder(self) -> Path:
        """Where trainings are kept."""
        return self.options.trainings(self.suite)

    def student(self, condition: str, method: str, params_passed: Mapping[str, Any], seed: int) -> Training:
        """The training of a method's student under a condition."""
        needs = Needs(self.suite, self.plugins, condition)
        return self._plan(condition, needs.student(method, params_passed, seed), self.suite.watch).training

    def network(self, condition: str, role: str) -> Training:
        """The training of the suite's teacher or another of its networks, on the labels of that condition."""
        return self._plan(condition, Needs(self.suite, self.plugins, condition).network(role)).training

    def lineage(self, spec: Training) -> Lineage:
        """A training of this graph with all that it needs."""
        return self.planned(spec.digest())

    def planned(self, digest: str) -> Lineage:
        """The same by the training's digest. Raises ``KeyError`` for one that was not asked for."""
        return self._planned[digest]

    def adopt(self, lineage: Lineage) -> None:
        """Know a training, with all that it needs, that another graph has planned."""
        self._planned[lineage.training.digest()] = lineage
        for needed in lineage.needs.values():
            self.adopt(needed)

    def own(self, spec: Training) -> dict[str, Training]:
        """The networks that are trained for one training alone, deepest first: ``<role>``, ``<role>/<role>``, ...

        The suite's networks that its method needs directly are not among them: they are the run's.
        """
        found: dict[str, Training] = {}
        for role, planned in self.lineage(spec).needs.items():
            if planned.suite_role is None:
                found |= self._branch(role, planned)
        return found

    def _branch(self, path: str, planned: Lineage) -> dict[str, Training]:
        below: dict[str, Training] = {}
        for role, needed in planned.needs.items():
            below |= self._branch(f"{path}/{role}", needed)
        return {**below, path: planned.training}

    def extended(self, spec: Training, condition: str) -> bool:
        """Whether a training, or one that is done for it alone, is longer than the suite grants."""
        standard = self.suite.condition(condition).recipe
        return any(is_extended(training.recipe, standard) for training in (spec, *self.own(spec).values()))

    def _plan(self, condition: str, node: Node, watch: Watch | None = None) -> Lineage:
        needs = {role: self._plan(condition, needed) for role, needed in node.needs.items()}
        planned = Lineage(self._training(condition, node, needs, watch), needs, node.suite_role)
        self._planned[planned.training.digest()] = planned
        return planned

    def _training(self, condition: str, node: Node, needs: Mapping[str, Lineage], watch: Watch | None) -> Training:
        setting = self.suite.condition(condition)
        precision = resolve_precision(node.recipe.precision, self.device)
        train, _ = self.train_set(condition)
        params, measured = node.method.split(node.params)
        return Training(
            suite=self.suite.name,
            dataset=self.suite.dataset,
            dataset_sha256=self.images_sha256(),
            train_size=setting.train_size,
            subset_seed=setting.subset_seed,
            noise=setting.noise,
            labels_sha256=self.labels_sha256(condition),
            model=node.model,
            model_source=self.model_source(node.model),
            other_models={name: self.model_source(name) for name in node.other_models},
            dropout=node.dropout,
            pretrained=self.suite.pretrained,
            mean=self.suite.mean,
            std=self.suite.std,
            flip=self.suite.flip,
            recipe=node.recipe_for(len(train.labels)).model_copy(update={"precision": precision}),
            method=node.method.name,
            method_source=node.method.source,
            params=params,
            measured=measured,
            seed=node.seed,
            device=self.device.type,
            needs={role: planned.training.predictor_digest() for role, planned in needs.items()},
            watch=watch,
        )

    def model_source(self, name: str) -> str:
        """Hash of an architecture's code."""
        return source_hash(self.plugins.models.get(name).build)

    def images_sha256(self) -> str:
        """Hash of the training images."""
        return train_images(self.dataset).sha256

    def labels_sha256(self, condition: str) -> str:
        """Hash of the labels that are trained on under a condition."""
        train, facts = self.train_set(condition)
        return facts.sha256 if facts else integers_sha256(train.labels)

    @functools.cache  # noqa: B019  # a graph lives as long as its run, and a suite has a few conditions
    def train_set(self, condition: str) -> tuple[TrainSet, NoiseFacts | None]:
        """The training set of a condition, and what the noise did to its labels."""
        setting, noises = self.suite.condition(condition), self.plugins.label_noises
        check_condition(condition, setting, noises, self.dataset.facts)
        return train_set(self.dataset, setting, noises, self.folder, self.options.place)

    def training_labels(self, condition: str) -> TrainingLabels:
        """The training set of a condition with the true labels beside the observed ones, for measuring."""
        noises, setting = self.plugins.label_noises, self.suite.condition(condition)
        return training_labels(self.dataset, setting, noises, self.folder, self.options.place)

    def path(self, spec: Training) -> Path:
        """Where a training is kept."""
        return self.folder / f"{spec.method}-{spec.model}-{spec.digest()}"

    def checkpoint(self, spec: Training) -> Path:
        """Where a finished training's network lies."""
        return Trained(spec, self.path(spec), reused=True).checkpoint

    def is_finished(self, spec: Training) -> bool:
        """Whether a training has left its checkpoint."""
        return self.checkpoint(spec).exists()

    def working(self, spec: Training, *, fresh: bool) -> Path:
        """Where a training that goes on lies: ``fresh`` beside the finished one."""
        return self.path(spec) / FRESH if fresh else self.path(spec)

    def ensure(
        self,
        spec: Training,
        condition: str,
        label: str,
        *,
        fresh: bool = False,
        on_epoch: Callable[[], None] = lambda: None,
        use: Callable[[Trained], None] = lambda trained: None,
    ) -> Trained:
        """Train what is not trained yet, needs first; ``fresh`` trains this one again, and only then drops the old one.

        One process at a time trains a network, whichever machine it is on; another that needs it says that it
        waits. ``on_epoch`` is called when the log of this one on disk has another epoch, ``use`` with the finished
        training, before another process can train it again.
        """
        folder = self.path(spec)

        def waiting(holder: str) -> None:
            say([f"{label} ({condition}) is being trained by {holder}: waiting for it"])

        with locked(folder.parent / f"{folder.name}.lease", waiting):
            trained = Trained(spec, folder, reused=self._usable(spec) and not fresh)
            if not trained.reused:
                work = self.working(spec, fresh=fresh)
                mend(work)
                try:
                    self.train(self.lineage(spec), condition, label, work, on_epoch)
                except (Exception, SystemExit) as error:
                    if fresh and not is_mistake(error):  # the next attempt goes on from there
                        Sealed(folder).take(work)
                    raise
                if fresh:
                    Sealed(folder).take(work)
            use(trained)
        return trained

    def _usable(self, spec: Training) -> bool:
        """Whether a training is finished, with all its files as they were written. One that has a damaged file is
        made ready to be trained again."""
        folder = self.path(spec)
        damaged = {*mend(folder)} - {RESUME}
        if not self.is_finished(spec):
            return False
        if not damaged and _readable(spec, folder):
            if (folder / RESUME).exists():  # left where it was interrupted after its checkpoint
                Sealed(folder).drop([RESUME])
            return True
        Sealed(folder).drop([CHECKPOINT, SOFTMAX, LOG, RESUME])
        return False

    def train(self, lineage: Lineage, condition: str, label: str, folder: Path, on_epoch: Callable[[], None]) -> None:
        """Train in a folder, whoever holds its lease: here, or in a process of its own where code of third parties was
        imported here. Whoever asks for it first, it is the same training."""
        trained = {role: self.ensure(needed.training, condition, role) for role, needed in lineage.needs.items()}
        if train_apart(self, lineage, condition, label, folder, on_epoch):
            return
        networks = {role: self.load(one) for role, one in trained.items()}
        spec = lineage.training.model_copy(update={"measured": {}})
        train, _ = self.train_set(condition)
        progress = bar(f"train {label} ({condition})", shown=self.options.progress)
        with progress as update, left_alone(f"method '{spec.method}'"):

            def report(entry: Mapping[str, Any]) -> None:
                epoch, epochs = entry["epoch"], spec.recipe.epochs
                found = f"loss {entry['loss']:.3f}, test {entry['test_accuracy']:.3f}"
                update(epoch / epochs, f"epoch {epoch} of {epochs}, {found}")
                on_epoch()

            fit(
                spec,
                make_method(self.plugins, spec),
                build_network(self.plugins, spec, train.num_classes, pretrained=spec.pretrained),
                train,
                networks,
                folder=folder,
                device=self.device,
                build=network_builder(self.plugins, spec, train.num_classes, pretrained=spec.pretrained),
                lineage=lineage.describe_needs(),
                monitor=self._monitor(spec.watch),
                on_epoch=report,
                compiler=compiler_for(self.device, asked=self.options.compile),
            )

    def _monitor(self, attack: Watch | None) -> Monitor:
        test = self.dataset.test
        index = stratified_subset(test.labels, min(MONITOR_SIZE, len(test)), 0)
        return Monitor(test.images[index], test.labels[index], attack)

    def load(self, trained: Trained, params: Mapping[str, Any] | None = None) -> nn.Module:
        """The predictor of a finished training, measured as it was asked for, or as ``params`` say: eval mode, frozen,
        on the device."""
        measured = trained.spec.measured if params is None else params
        return load_predictor(trained.checkpoint, params=measured, device=self.device, plugins=self.plugins)

    def shared(self, condition: str, roles: Iterable[str]) -> dict[str, Trained]:
        """The suite's networks of these roles under a condition, trained."""
        return {role: self.ensure(self.network(condition, role), condition, role) for role in sorted(set(roles))}


def is_mistake(error: BaseException) -> bool:
    """Whether a training ended by what a user can fix, and no record is to say so."""
    return isinstance(error, KdbenchError) and not isinstance(error, NotFiniteError)


def _readable(spec: Training, folder: Path) -> bool:
    """Whether a finished training can be read; that is all that can be checked of one that an earlier version left."""
    try:
        load_checkpoint(folder / CHECKPOINT)
        epochs = len(read_log(folder))
        if epochs != spec.recipe.epochs:
            raise KdbenchError(f"{folder / LOG} has {epochs} epochs, the recipe has {spec.recipe.epochs}")
        if (folder / SOFTMAX).exists():
            check_archive(folder / SOFTMAX)
    except (KdbenchError, LogError, BadZipFile) as error:
        message = error.message if isinstance(error, KdbenchError) else f"a file in {folder} is damaged: {error}"
        warnings.warn(f"{message}: it is trained again", stacklevel=4)
        return False
    return True
