"""A finished run as it lies on disk: its record, and whatever of its evidence is there and untouched."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.report.style import MOST_RUNS, plain
from kdbench.results.figures import TrainingCurves, curves
from kdbench.results.record import Record, read_record
from kdbench.training.log import LOG, parse_log


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
        path = self.evidence(LOG)
        try:
            return curves(parse_log(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise KdbenchError(f"{path.name} of {self.label} cannot be read: {error}") from None

    def predictions(self) -> Mapping[str, NDArray[Any]]:
        """Per-example results, ``<condition>/<task>/<name>``; raises ``KdbenchError`` without them."""
        return _arrays(self.evidence("predictions.npz"))

    def softmax_history(self, condition: str) -> SoftmaxHistory:
        """Softmax vectors of the watched test images; raises ``KdbenchError`` without them."""
        path = self.evidence(f"softmax-{condition}.npz")
        arrays = _arrays(path)
        softmax, labels = arrays.get("softmax"), arrays.get("labels")
        if softmax is None or labels is None or not _is_history(softmax, labels):
            raise KdbenchError(f"{path.name} of {self.label} holds no softmax vectors epoch by epoch")
        return SoftmaxHistory(softmax.astype(np.float64), labels.astype(np.int64))

    def evidence(self, name: str) -> Path:
        """A file beside the record; raises ``KdbenchError`` where it is not there or not the one that was hashed."""
        path = self.path.with_name(name)
        if self.path.name != "record.json":  # as published: <run_id>.json and <run_id>.<name>
            path = self.path.with_name(f"{self.path.stem}.{name}")
        expected = self.record.hashes.evidence.get(name)
        if expected is None:
            raise KdbenchError(f"the record of {self.label} knows no {name}")
        return self._checked(path, expected)

    def checkpoint(self, condition: str) -> Path:
        """The measured student's; raises ``KdbenchError`` as ``evidence`` does."""
        student = self.record.hashes.students.get(condition)
        if student is None:
            raise KdbenchError(f"{self.label} has no trained student under {condition}")
        return self._checked(self.path.with_name(f"checkpoint-{condition}.safetensors"), student.sha256)

    def _checked(self, path: Path, sha256: str) -> Path:
        if not path.is_file():
            raise KdbenchError(f"{path.name} of {self.label} is not beside its record")
        if file_sha256(path) != sha256:
            raise KdbenchError(f"{path.name} of {self.label} is not the file whose hash the record has")
        return path


def _is_history(softmax: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Whether they are finite (epochs, n, C) and classes (n,), none of them empty."""
    if softmax.dtype.kind != "f" or labels.dtype.kind not in "iu":
        return False
    if softmax.ndim != 3 or not softmax.size or labels.shape != softmax.shape[1:2]:
        return False
    return bool(np.isfinite(softmax).all() and (labels >= 0).all() and (labels < softmax.shape[2]).all())


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise KdbenchError(f"{path.name} cannot be read: {error}") from None


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs of one suite, from run folders or record files, each once, with labels that differ.

    Raises ``KdbenchError`` for what is no record, for runs of several suites and for more than one figure can show.
    """
    records: dict[Path, Record] = {}
    for path in paths:
        file = path / "record.json" if path.is_dir() else path
        if file.resolve() not in {known.resolve() for known in records}:
            records[file] = read_record(file)
    suites = dict.fromkeys(record.spec.suite.name for record in records.values())
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
