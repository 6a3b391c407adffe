"""A finished run as it lies on disk: its record, and whatever of its evidence is there and untouched."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.report.style import MOST_RUNS, plain
from kdbench.results.evidence import PREDICTIONS, Predictions, hashed_file, read_training_log, record_at, same_file
from kdbench.results.figures import TrainingCurves, curves
from kdbench.results.record import Record, read_record
from kdbench.results.untrusted import Unreadable, read_arrays
from kdbench.training.log import LOG


@dataclasses.dataclass(frozen=True)
class SoftmaxHistory:
    """Softmax vectors of some test images after each epoch."""

    softmax: NDArray[np.float64]
    """(epochs, n, C)."""
    labels: NDArray[np.int64]
    """(n,), true classes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One record with the files beside it."""

    label: str
    """Short, and its own among the runs of a report; can be drawn."""
    record: Record
    path: Path
    """Of the record."""

    @property
    def conditions(self) -> list[str]:
        return list(self.record.spec.params)

    def curves(self) -> dict[str, TrainingCurves]:
        """Its training log, as curves by condition; raises ``KdbenchError`` without the log."""
        self._check_trained("training log")
        with self._naming(LOG):
            return curves(read_training_log(self.path, self.record))

    def predictions(self) -> Mapping[str, NDArray[Any]]:
        """Per-example results, ``<condition>/<task>/<name>``; raises ``KdbenchError`` without them."""
        with self._naming(PREDICTIONS):
            return Predictions.of(self.path, self.record)

    def softmax_history(self, condition: str) -> SoftmaxHistory:
        """Softmax vectors of the watched test images; raises ``KdbenchError`` without them."""
        self._check_trained("softmax vectors epoch by epoch")
        name = f"softmax-{condition}.npz"
        with self._naming(name):
            arrays = read_arrays(hashed_file(self.path, self.record, name))
        softmax, labels = arrays.get("softmax"), arrays.get("labels")
        if softmax is None or labels is None or not _is_history(softmax, labels):
            raise KdbenchError(f"{name} of {self.label} holds no softmax vectors epoch by epoch")
        return SoftmaxHistory(softmax.astype(np.float64), labels.astype(np.int64))

    def evidence(self, name: str) -> Path:
        """A file beside the record; raises ``KdbenchError`` where it is not there or not the one that was hashed."""
        with self._naming(name):
            return hashed_file(self.path, self.record, name)

    def checkpoint(self, condition: str) -> Path:
        """The measured student's; raises ``KdbenchError`` as ``evidence`` does."""
        self._check_trained("checkpoint beside its record")
        student = self.record.hashes.students.get(condition)
        if student is None:
            raise KdbenchError(f"{self.label} has no trained student under {condition}")
        name = f"checkpoint-{condition}.safetensors"
        with self._naming(name):
            return same_file(self.path.with_name(name), student.sha256)

    def _check_trained(self, what: str) -> None:
        """Raise for what a model that was not trained here cannot have."""
        if self.record.evaluated is not None:
            raise KdbenchError(f"{self.label} was evaluated, not trained here: it has no {what}")

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Say of a file that cannot be read which file, and whose."""
        try:
            yield
        except Unreadable as error:
            raise KdbenchError(f"{name} of {self.label} {error.message}") from None


def _is_history(softmax: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Whether they are finite (epochs, n, C) and classes (n,), none of them empty."""
    if softmax.dtype.kind != "f" or labels.dtype.kind not in "iu":
        return False
    if softmax.ndim != 3 or not softmax.size or labels.shape != softmax.shape[1:2]:
        return False
    return bool(np.isfinite(softmax).all() and (labels >= 0).all() and (labels < softmax.shape[2]).all())


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs of one suite, from run folders or record files, each once, with labels that differ.

    Raises ``KdbenchError`` for what is no record, for runs of several suites and for more than one figure can show.
    """
    records: dict[Path, Record] = {}
    for path in paths:
        file = record_at(path)
        if file.resolve() not in {known.resolve() for known in records}:
            records[file] = read_record(file)
    suites = dict.fromkeys(record.spec.suite.label for record in records.values())
    if len(suites) > 1:
        raise KdbenchError(
            f"the runs are of suites {', '.join(suites)}", "give runs of one suite: others do not compare"
        )
    if not 1 <= len(records) <= MOST_RUNS:
        raise KdbenchError(
            f"{len(records)} runs were given, expected 1 to {MOST_RUNS}", "give fewer: see the leaderboard"
        )
    labels = _labels(list(records.values()))
    return [Run(label, record, path) for label, (path, record) in zip(labels, records.items(), strict=True)]


def _labels(records: Sequence[Record]) -> list[str]:
    """The method's name, and as much more as is needed to distinguish the runs."""
    methods = [plain(record.spec.method, 20) for record in records]
    params = [
        " ".join(f"{key}={json.dumps(value)}" for key, value in record.params_passed.items()) for record in records
    ]
    seeds = [f"seed {record.spec.seed}" for record in records]
    several = {"params": len(set(params)) > 1, "seeds": len(set(seeds)) > 1}
    labels = []
    for method, given, seed, record in zip(methods, params, seeds, records, strict=True):
        more = [plain(given, 24)] * (several["params"] and bool(given)) + [seed] * several["seeds"]
        label = ", ".join([method, *more])
        labels.append(f"{label} ({plain(record.run_id, 6)})" if label in labels else label)
    return labels
