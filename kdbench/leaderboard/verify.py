"""Measuring a published checkpoint again: is each score of its record the same, within its interval, or not?"""

from __future__ import annotations

import dataclasses
import functools
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kdbench.data import ImageSet
from kdbench.data.download import fetch
from kdbench.errors import KdbenchError, unknown_name
from kdbench.files import file_sha256
from kdbench.inference.prediction import folded_copy
from kdbench.leaderboard.agreement import Agreement, Examples, compare
from kdbench.leaderboard.rules import Case
from kdbench.leaderboard.validate import validate
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.evidence import Predictions
from kdbench.results.record import Record, Score, read_record
from kdbench.running.evaluation import check_model, run_task
from kdbench.running.graph import RunGraph
from kdbench.running.loading import load_predictor
from kdbench.running.options import RunOptions
from kdbench.running.progress import bar
from kdbench.running.suite_data import Part, SuiteData, image_part, load_suite_data, needed_data
from kdbench.sources import open_model
from kdbench.tasks import EvaluationContext, Task, TestData


@dataclasses.dataclass(frozen=True)
class Verification:
    """What measuring a checkpoint again has shown."""

    run_id: str
    condition: str
    device: str
    examples: int | None
    """Size of the sample of test images; None: all."""
    sample_seed: int
    agreements: list[Agreement]
    skipped: dict[str, str]
    """Tasks of the record that were not measured, and why."""

    @property
    def sample(self) -> str:
        """What was measured, in words."""
        if self.examples is None:
            return "all examples"
        return f"{self.examples} examples a task, --sample-seed {self.sample_seed}"

    @property
    def refuted(self) -> list[Agreement]:
        """The scores that the checkpoint does not have."""
        return [agreement for agreement in self.agreements if agreement.verdict == "not"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {**vars(self), "agreements": [agreement.to_dict() for agreement in self.agreements]}
        return {**values, "refuted": len(self.refuted)}


def verify(
    path: Path,
    checkpoint: str | Path,
    *,
    condition: str | None = None,
    tasks: Iterable[str] | None = None,
    examples: int | None = None,
    sample_seed: int | None = None,
    train: bool = False,
    options: RunOptions,
) -> Verification:
    """Measure the checkpoint of a record again and hold it against the record.

    ``checkpoint``: a file or an https address; it must be the very file that the record hashed, which also says what
    condition it is of. ``examples`` measures that many of the test images of each task, drawn by ``sample_seed``, by
    default one that nobody knew before. Tasks that attack through the suite's other networks find them under
    ``options.out``; where they are not there, ``train`` trains them, and otherwise these tasks are skipped.

    Raises:
        KdbenchError: the record is not valid, the checkpoint is another one, the data are others than the record's, or
            a name is unknown.
    """
    errors = [problem for problem in validate(path) if problem.severity == "error"]
    if errors:
        raise KdbenchError(f"not a valid record: {errors[0]}", "`kdbench leaderboard validate` shows all of it")
    record = read_record(path)
    condition = _condition(record, condition)
    where = options.device
    seed = secrets.randbits(32) if sample_seed is None else sample_seed
    with _file(checkpoint, record, condition, options) as file:
        condition = _same_checkpoint(record, file, condition)
        case = Case(record, load_plugins(), Predictions.of(path, record), None)
        chosen, skipped = _tasks(case, condition, tasks)
        suite_data = load_suite_data(record.spec.suite, case.plugins, options.place, **needed_data(chosen.values()))
        _same_data(record, suite_data, chosen)
        part = suite_data.part(record.spec.examples)
        graph = RunGraph(record.spec.suite, suite_data.dataset, case.plugins, options)
        network = _network(record, file, suite_data, where, case.plugins)
        student = folded_copy(network, suite_data.test.test.images, where)
        job = _Job(case, condition, suite_data, part, graph, student, examples, seed, train)
        agreements = []
        for name, (task, settings) in chosen.items():
            networks, reason = job.sources(task, settings)
            if reason:
                skipped[name] = reason
            else:
                networks |= _predictors(task, record, file, suite_data, where, case.plugins)
                agreements += job.measure(task, settings, networks)
    return Verification(record.run_id, condition, where.type, examples, seed, agreements, skipped)


def _network(record: Record, file: Path, data: SuiteData, device: torch.device, plugins: Plugins) -> nn.Module:
    """The network that was measured, from its file; a model from elsewhere as ``kdbench evaluate`` reads it."""
    model = record.evaluated
    if model is None:
        return load_predictor(file, device=device, plugins=plugins)
    opened = open_model(
        str(file),
        suite=record.spec.suite,
        model=model.architecture,
        weights=model.weights,
        params=model.params,
        **model.preprocessing.get("asked", {}),
    )
    return check_model(opened.network.to(device), data.dataset, device)


def _predictors(
    task: Task, record: Record, file: Path, data: SuiteData, device: torch.device, plugins: Plugins
) -> dict[str, nn.Module]:
    """What else of the same training a task measures."""
    if record.evaluated is not None:
        return {}
    wanted = task.predictors(plugins.methods.get(record.spec.method))
    networks = {name: load_predictor(file, params=p, device=device, plugins=plugins) for name, p in wanted.items()}
    return {name: folded_copy(network, data.test.test.images, device) for name, network in networks.items()}


def _condition(record: Record, condition: str | None) -> str | None:
    if condition is not None and condition not in record.checkpoints:
        raise unknown_name("condition", condition, record.checkpoints, "these are the record's")
    return condition


@contextmanager
def _file(checkpoint: str | Path, record: Record, condition: str | None, options: RunOptions) -> Iterator[Path]:
    """The checkpoint as a file; fetched for the while, where it is an address."""
    address = str(checkpoint)
    if "://" not in address:
        yield Path(checkpoint)
        return
    if not address.startswith("https://"):
        raise KdbenchError(f"checkpoint address {address} is not https", "give a file or an https address")
    hashes = record.checkpoints
    if condition is None and len(hashes) != 1:
        raise KdbenchError("which checkpoint is to be fetched?", f"say --condition {' or '.join(hashes)}")
    expected = hashes[condition or next(iter(hashes))]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "checkpoint.safetensors"
        yield fetch([address], target, checksum=f"sha256:{expected}", progress=options.progress)


def _same_checkpoint(record: Record, file: Path, condition: str | None) -> str:
    """The condition whose student this file is, by its hash."""
    if record.evaluated is not None and record.evaluated.from_python:
        raise KdbenchError(
            f"the record is of a module that was given from Python ({record.evaluated.source}), not of a file",
            "measure it again with kdbench.evaluate, and compare",
        )
    if record.evaluated is not None and not record.evaluated.from_file:
        raise KdbenchError(
            f"the record is of {record.evaluated.source}, not of a file",
            "measure it again with `kdbench evaluate`, and compare",
        )
    if not file.is_file():
        raise KdbenchError(f"no checkpoint at {file}", "give the path of a .safetensors file")
    found = file_sha256(file)
    hashes = record.checkpoints
    of = [name for name, digest in hashes.items() if digest == found]
    if not of or (condition is not None and condition not in of):
        wanted = {condition: hashes[condition]} if condition else hashes
        have = f"it is that of condition {of[0]}" if of else f"its SHA-256 is {found}"
        record_has = ", ".join(f"{digest} ({name})" for name, digest in wanted.items())
        raise KdbenchError(
            f"checkpoint {file} is not the record's: {have}, the record has {record_has}",
            "a damaged copy has another hash too: fetch it again",
        )
    return condition or of[0]


def _tasks(
    case: Case, condition: str, names: Iterable[str] | None
) -> tuple[dict[str, tuple[Task, Any]], dict[str, str]]:
    """The record's tasks of a condition that can be measured here, and why others cannot."""
    measured = dict.fromkeys(score.task for score in case.record.scores if score.condition == condition)
    wanted = list(measured) if names is None else list(names)
    chosen, skipped = {}, {}
    for name in wanted:
        if name not in measured:
            raise unknown_name("task", name, measured, f"the record has these under {condition}")
        known = case.task(name)
        if known is None:
            version = case.record.spec.tasks[name]
            skipped[name] = f"task '{name}' is not installed here in version {version}"
        else:
            chosen[name] = known
    for task, settings in chosen.values():
        task.prepare(settings)
    return chosen, skipped


def _same_data(record: Record, suite_data: SuiteData, chosen: Mapping[str, tuple[Task, Any]]) -> None:
    here = suite_data.hashes()
    differing = [name for name, digest in here.items() if record.hashes.datasets.get(name) != digest]
    if differing:
        raise KdbenchError(
            f"'{differing[0]}' here is not the record's: {here[differing[0]]}, the record has "
            f"{record.hashes.datasets.get(differing[0])}",
            "give the same data with --data-dir",
        )
    origin = suite_data.test.corruption_images
    if any(task.uses_corruptions for task, _ in chosen.values()) and origin != record.spec.corruption_images:
        raise KdbenchError(
            f"corrupted images here are {origin}, the record's are {record.spec.corruption_images}",
            "leave out that task, or give the same data",
        )


@dataclasses.dataclass(frozen=True)
class _Job:
    """One checkpoint on its way to a verdict."""

    case: Case
    condition: str
    suite_data: SuiteData
    part: Part
    """What the record measured of it."""
    graph: RunGraph
    student: nn.Module
    examples: int | None
    seed: int
    train: bool

    def sources(self, task: Task, settings: Any) -> tuple[dict[str, nn.Module], str]:
        """The suite's networks that a task needs, as the record has them; or why they are lacking."""
        networks = {}
        for role in task.sources(settings):
            recorded = self.case.record.hashes.networks.get(f"{self.condition}/{role}")
            if recorded is None:
                return {}, f"the record names no network '{role}'"
            training = self.graph.network(self.condition, role)
            folders = sorted(self.graph.folder.glob(f"*-{recorded.training}"))
            file = folders[0] / "checkpoint.safetensors" if folders else None
            if (file is None or not file.is_file()) and self.train:
                file = self.graph.ensure(training, self.condition, role).checkpoint
            if file is None or not file.is_file():
                return {}, f"'{role}' is not under {self.graph.folder}: --train trains it, --out says where it is"
            if file_sha256(file) != recorded.sha256:
                return {}, f"'{role}' in {file.parent} is another network than the record's"
            network = load_predictor(
                file, params=training.measured, device=self.graph.device, plugins=self.graph.plugins
            )
            networks[role] = folded_copy(network, self.suite_data.test.test.images, self.graph.device)
        return networks, ""

    def measure(self, task: Task, settings: Any, networks: Mapping[str, nn.Module]) -> list[Agreement]:
        """One task on the same examples as the record's, or on a sample of them."""
        results = self.case.results(self.condition)
        index, data, rows = results.get(f"{task.name}/index"), self.part.data, self.part.rows
        if rows is None:
            universe = np.arange(len(data.test)) if index is None else index
        else:  # tasks draw their subsets from the part as they did
            universe = np.arange(len(data.test))
            if index is not None and not task.needs_ood:
                universe = np.flatnonzero(np.isin(rows.numpy(), index))
        sampled = self.examples is not None and self.examples < len(universe)
        if sampled:
            data = TestData(
                image_part(data.test, torch.from_numpy(universe[self._positions(len(universe))])),
                None if data.ood is None else self._sample(data.ood),
                data.published_corruptions,
                {name: self._sample(images) for name, images in data.outside.items()},
            )
        ctx = EvaluationContext(self.condition, self.graph.device, None, networks=networks)
        with bar(f"measure {task.name} ({self.condition})", shown=self.graph.options.progress) as update:
            outcome = run_task(
                task, settings, self.student, data, dataclasses.replace(ctx, advance=functools.partial(update, note=""))
            )

        def examples(score: Score) -> Examples | None:
            name = task.results_key(score)
            old, new = results.get(f"{task.name}/{name}"), outcome.correct.get(str(name))
            if old is None or new is None:
                return None
            old = old[self._positions(len(old))] if sampled else old
            return Examples(old, new.cpu().numpy()) if old.shape == tuple(new.shape) else None

        recorded = [s for s in self.case.record.scores if (s.task, s.condition) == (task.name, self.condition)]
        return compare(recorded, outcome.scores, examples, whole=not sampled)

    def _sample(self, images: ImageSet) -> ImageSet:
        return image_part(images, torch.from_numpy(self._positions(len(images))))

    def _positions(self, size: int) -> NDArray[np.int64]:
        """The sample's positions, ascending, among so many examples."""
        number = size if self.examples is None else min(self.examples, size)
        return np.sort(np.random.default_rng([self.seed, size]).choice(size, number, replace=False))
