"""Measuring published checkpoints again: is each score of their record the same, within its interval, or not?"""

from __future__ import annotations

import dataclasses
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from kdbench.data.download import fetch
from kdbench.errors import KdbenchError, unknown_name
from kdbench.files import file_sha256
from kdbench.inference.prediction import folded_copy
from kdbench.leaderboard.agreement import Agreement, Judged, unchecked
from kdbench.leaderboard.case import Case
from kdbench.leaderboard.measuring import Job
from kdbench.leaderboard.validate import require_valid
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.evidence import Predictions, checkpoint_beside
from kdbench.results.record import Record, read_record
from kdbench.running.evaluation import check_model
from kdbench.running.graph import RunGraph
from kdbench.running.loading import load_predictor
from kdbench.running.options import RunOptions
from kdbench.running.suite_data import SuiteData, load_suite_data, needed_data
from kdbench.sources import open_model
from kdbench.tasks import Task

LARGEST: Final = 4 * 2**30
"""Bytes of a checkpoint that somebody's address is asked for."""


@dataclasses.dataclass(frozen=True)
class Verification(Judged):
    """What measuring a record's checkpoints again has shown."""

    run_id: str
    conditions: tuple[str, ...]
    """Whose checkpoints were measured."""
    device: str
    examples: int | None
    """Size of the sample of test images; None: all."""
    sample_seed: int
    agreements: list[Agreement]
    """Every score of the record under the conditions, in its order."""
    skipped: dict[str, str]
    """``<condition>/<task>`` of the record that could not be measured, and why; those that were not asked for are not
    among them."""
    findings: tuple[str, ...] = ()
    """What else is not as it is recorded: checks, label noise, scores that the record lacks."""

    @property
    def done(self) -> str:
        """What was measured, in words."""
        whole = self.examples is None
        sample = "all examples" if whole else f"{self.examples} examples a task, --sample-seed {self.sample_seed}"
        return f"{self.run_id} {', '.join(self.conditions)} on {self.device}, {sample}"

    def holds(self, *, partly: bool = False) -> bool:
        """Whether the record was reproduced: all of it that was asked for, or ``partly`` what can be measured here."""
        return not self.refuted and not self.findings and (partly or not self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {**vars(self), "agreements": [agreement.to_dict() for agreement in self.agreements]}
        return {**values, "refuted": len(self.refuted), "counts": self.counts}


def verify(
    path: Path,
    checkpoint: str | Path | None = None,
    *,
    condition: str | None = None,
    tasks: Iterable[str] | None = None,
    examples: int | None = None,
    sample_seed: int | None = None,
    train: bool = False,
    options: RunOptions,
) -> Verification:
    """Measure the checkpoints of a record again and hold them against the record.

    ``checkpoint``: a file or an https address, by default the files beside the record: that of ``condition``, or of
    each condition that has one there. Each must be the very file that the record hashed, which also says what condition
    it is of. ``examples`` measures that many of the test images of each task, drawn by ``sample_seed``, by default one
    that nobody knew before. Tasks that attack through the suite's other networks find them under ``options.out``; where
    they are not there, ``train`` trains them, and otherwise these tasks are skipped.

    Raises:
        KdbenchError: the record is not valid, a checkpoint is another one, the data are others than the record's, or a
            name is unknown.
    """
    require_valid(path)
    record = read_record(path)
    condition = _condition(record, condition)
    where = options.device
    seed = secrets.randbits(32) if sample_seed is None else sample_seed
    with _files(path, record, checkpoint, condition, options) as files:
        case = Case(record, load_plugins(), Predictions.of(path, record), None)
        places, skipped = _places(case, list(files), tasks)
        conditions = tuple(of for of in files if of in {place for place, _ in (*places, *skipped)})
        chosen = {name: known for (_, name), known in places.items()}
        suite_data = load_suite_data(record.spec.suite, case.plugins, options.place, **needed_data(chosen.values()))
        require_same_data(record, suite_data, chosen)
        part = suite_data.part(record.spec.examples)
        graph = RunGraph(record.spec.suite, suite_data.dataset, case.plugins, options)
        jobs = {}
        for of in conditions:
            network = _network(record, files[of], suite_data, where, case.plugins)
            student = folded_copy(network, suite_data.test.test.images, where)
            jobs[of] = Job(case, of, conditions, suite_data, part, graph, student, examples, seed, train)
        measured: list[Agreement] = []
        findings = [finding for job in jobs.values() for finding in job.label_noise()]
        for (of, name), (task, settings) in places.items():
            networks, reason = jobs[of].sources(task, settings)
            if reason:
                skipped[of, name] = reason
            else:
                networks |= _predictors(task, record, files[of], suite_data, where, case.plugins)
                compared, more = jobs[of].measure(task, settings, networks)
                measured, findings = measured + compared, findings + more
    agreements = _all_scores(record, conditions, measured, skipped)
    reasons = {f"{of}/{name}": reason for (of, name), reason in skipped.items()}
    return Verification(record.run_id, conditions, where.type, examples, seed, agreements, reasons, tuple(findings))


def _all_scores(
    record: Record, conditions: Sequence[str], measured: Sequence[Agreement], skipped: Mapping[tuple[str, str], str]
) -> list[Agreement]:
    """Every score of the record under the conditions: what was found of it, or that it was not looked at."""
    found = {id(one.score): one for one in measured}
    return [
        found.get(id(score)) or unchecked(score, skipped.get((score.condition, score.task), "not asked for"))
        for score in record.scores
        if score.condition in conditions
    ]


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


def _beside(path: Path, record: Record, condition: str | None) -> dict[str, Path]:
    """Condition to the checkpoint that lies beside the record; one at least."""
    files = {name: checkpoint_beside(path, name) for name in ([condition] if condition else record.checkpoints)}
    there = {name: file for name, file in files.items() if file.is_file()}
    if not there:
        looked = " or ".join(file.name for file in files.values())
        raise KdbenchError(f"no checkpoint beside {path}: there is no {looked}", "name it with --checkpoint")
    return there


@contextmanager
def _files(
    path: Path, record: Record, checkpoint: str | Path | None, condition: str | None, options: RunOptions
) -> Iterator[dict[str, Path]]:
    """Condition to its checkpoint: those beside the record, or the one that is named."""
    if checkpoint is None:
        yield {_same_checkpoint(record, file, of): file for of, file in _beside(path, record, condition).items()}
        return
    with _file(checkpoint, record, condition, options) as file:
        yield {_same_checkpoint(record, file, condition): file}


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
        checksum = f"sha256:{expected}"
        yield fetch([address], target, checksum=checksum, progress=options.progress, largest=LARGEST)


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


def _places(
    case: Case, conditions: Sequence[str], names: Iterable[str] | None
) -> tuple[dict[tuple[str, str], tuple[Task, Any]], dict[tuple[str, str], str]]:
    """The record's tasks that can be measured here, by condition and name, and why others cannot."""
    scores = [score for score in case.record.scores if score.condition in conditions]
    measured = dict.fromkeys(score.task for score in scores)
    wanted = set(measured if names is None else names)
    for name in sorted(wanted - measured.keys()):
        raise unknown_name("task", name, measured, f"the record has these under {' and '.join(conditions)}")
    chosen, skipped = {}, {}
    for place in dict.fromkeys((score.condition, score.task) for score in scores if score.task in wanted):
        name = place[1]
        known = case.task(name)
        if known is None:
            version = case.record.spec.tasks[name]
            skipped[place] = f"task '{name}' is not installed here in version {version}"
        else:
            chosen[place] = known
    for task, settings in chosen.values():
        task.prepare(settings)
    return chosen, skipped


def require_same_data(record: Record, suite_data: SuiteData, chosen: Mapping[str, tuple[Task, Any]]) -> None:
    """Raise ``KdbenchError`` where the images here are others than those of the record."""
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
