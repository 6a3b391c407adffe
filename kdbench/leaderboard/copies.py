"""Records that have the same network, log or per-example results as another training's: one of them is a copy."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdbench.results.evidence import Evidence
from kdbench.results.record import Record
from kdbench.results.untrusted import plain
from kdbench.training.log import LOG


@dataclasses.dataclass(frozen=True)
class Mark:
    """Something that no two trainings have alike."""

    kind: str = dataclasses.field(compare=False)
    """In words."""
    sha256: str


@dataclasses.dataclass(frozen=True)
class Copy:
    """A record that has a mark of another training's."""

    run: Evidence
    other: Evidence
    kind: str

    def __str__(self) -> str:
        ours, theirs = self.run.record, self.other.record
        same = "of this very record" if ours is theirs else f"of run {theirs.run_id} ({_name(theirs)})"
        return f"{self.kind} is that of another training {same}: trained twice, no two are alike"


def copies(runs: Sequence[Evidence], *, of_methods: bool) -> Iterator[Copy]:
    """Every record of ``runs`` that shares a mark with one of another training, once.

    ``of_methods``: also where a record of another method at the same seed has the same losses or answers. One method
    may compute what another does, by its parameters; but then it is none of its own.
    """
    owners: dict[Mark, dict[str, Evidence]] = {}
    for run in runs:
        for mark, owner in marks(run, of_methods=of_methods):
            owners.setdefault(mark, {}).setdefault(owner, run)
    shared = {mark: found for mark, found in owners.items() if len(found) > 1}
    for run in runs:
        for mark, owner in marks(run, of_methods=of_methods) if shared else ():
            others = [other for training, other in shared.get(mark, {}).items() if training != owner]
            if others:
                yield Copy(run, others[0], mark.kind)
                break


def marks(run: Evidence, *, of_methods: bool) -> Iterator[tuple[Mark, str]]:
    """The marks of a record, each with who may have it.

    A checkpoint and a log say when and from what they were made, so they are of one training alone; losses and answers
    are the same where only the source of a method or of kdbench is another, so they are of a seed.
    """
    record = run.record
    learner = f"{record.spec.method if of_methods else ''} {record.spec.seed}"
    networks = {**{f"{name}/student": one for name, one in record.hashes.students.items()}, **record.hashes.networks}
    for name, network in networks.items():
        yield Mark(f"the checkpoint of {plain(name, 80)}", network.sha256), network.training
    if LOG in record.hashes.evidence and record.hashes.students:
        yield Mark("the training log", record.hashes.evidence[LOG]), _trainings(record)
    for condition, losses in _losses(run.log or ()).items():
        if condition in record.hashes.students:
            content = hashlib.sha256(json.dumps(losses).encode()).hexdigest()
            yield Mark(f"the loss of each epoch under {plain(condition, 80)}", content), learner
    for condition, signature in run.signatures.items():
        if condition in record.hashes.students:
            yield Mark(f"what the network of {plain(condition, 80)} answers", signature), learner


def _losses(log: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Condition to the losses of its epochs, as they are written; those of one epoch may be equal by chance."""
    found: dict[str, list[str]] = {}
    for entry in log:
        if isinstance(entry.get("loss"), float):
            found.setdefault(str(entry.get("condition")), []).append(repr(entry["loss"]))
    return {condition: losses for condition, losses in found.items() if len(set(losses)) > 1}


def _trainings(record: Record) -> str:
    return " ".join(sorted(student.training for student in record.hashes.students.values()))


def _name(record: Record) -> str:
    return f"{plain(record.spec.method, 80)}, seed {record.spec.seed}"
