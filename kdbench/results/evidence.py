"""A record with the files beside it, each read only where it is the one that the record hashed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.results.attestation import MOST, SUFFIX, Attestation, read_attestation
from kdbench.results.record import Record
from kdbench.results.signatures import signatures
from kdbench.results.untrusted import EVIDENCE_LIMIT, LOG_LIMIT, Unreadable, read_arrays, read_bytes
from kdbench.training.log import LOG, LogError, parse_log

PREDICTIONS: Final = "predictions.npz"
"""File of the per-example results: ``<condition>/<task>/<name>`` to an array."""
DEEPEST: Final = 4
"""Folders below one that was given, in which a run is looked for that may have been meant: ``runs/suite/method/id``."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A record with the files beside it."""

    record: Record
    path: Path
    """Of the record's JSON file."""
    log: tuple[Mapping[str, Any], ...] | None
    """Training log, one entry per epoch and condition; None when it is not there or not the one that was hashed."""
    predictions: Mapping[str, NDArray[Any]] | None
    """Per-example results: ``<condition>/<task>/<name>`` to an array; None as for ``log``."""
    notes: tuple[str, ...] = ()
    """What is wrong with the files: "predictions.npz is not the file that the record hashed"."""
    remarks: tuple[str, ...] = ()
    """What a reader of its scores must know: of how many records they are, that other machines got others."""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Tasks whose scores do not stand in the table that the others stand in, to why."""
    signatures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Condition to what no other network's per-example results have (``kdbench.results.signatures``)."""
    attestations: tuple[Attestation, ...] = ()
    """Of those who trained it again, whatever they found."""
    parts: tuple[Evidence, ...] = ()
    """The records of separate jobs that it is put together from; () for one that is as it was read."""
    repeats: tuple[Evidence, ...] = ()
    """The same run on other machines, or with other threads or versions, with other results: shown, not counted."""

    @property
    def sources(self) -> tuple[Evidence, ...]:
        """The records on disk whose scores it has: its parts, or itself."""
        return self.parts or (self,)

    @classmethod
    def of(cls, record: Record, path: Path) -> Evidence:
        """The record at ``path`` with its log and predictions, as far as they can be read."""
        notes: list[str] = []
        log = predictions = None
        try:
            log = tuple(read_training_log(path, record)) if record.evaluated is None else None
        except Unreadable as error:
            notes.append(f"{LOG} {error.message}")
        try:
            predictions = Predictions.of(path, record)
        except Unreadable as error:
            notes.append(f"{PREDICTIONS} {error.message}")
        attested, wrong = attestations(path)
        notes += [f"{file.name} {error.message}" for file, error in wrong]
        return cls(
            record, path, log, predictions, tuple(notes), signatures=signatures(predictions or {}),
            attestations=tuple(attested),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Excluded:
    """A file that is not ranked, and why."""

    path: Path
    reason: str
    run_id: str = ""
    suite: str = ""
    method: str = ""


def exclude(one: Evidence, reason: str) -> Excluded:
    """A record that can be read and is not ranked."""
    record = one.record
    return Excluded(one.path, reason, record.run_id, record.spec.suite.label, record.spec.method)


def require_evidence(function: str, runs: object) -> None:
    """Raise for what is no sequence of ``Evidence``: a path, for which there is another function, or records alone.

    Raises:
        KdbenchError: it is not.
    """
    listed = list(runs) if isinstance(runs, Iterable) and not isinstance(runs, str | bytes) else [runs]
    wrong = [type(one).__name__ for one in listed if not isinstance(one, Evidence)]
    if wrong:
        hint = "`rank(folder)` and `read_records(folder)` read a folder, `read_evidence(path)` one record"
        raise KdbenchError(f"{function} got a {wrong[0]}, expected a sequence of Evidence", hint)


def record_at(path: Path) -> Path:
    """The record that a run's folder holds, or that is named itself.

    Raises ``KdbenchError`` for a folder that holds none, and names one below it that does.
    """
    if not path.is_dir():
        return path
    record = path / "record.json"
    if not record.exists():
        depths = ("/".join("*" * depth) for depth in range(1, DEEPEST + 1))
        below = next((found for at in depths for found in path.glob(f"{at}/record.json")), None)
        hint = f"give a run's folder, as {below.parent}" if below else "give a run's folder, or a record"
        raise KdbenchError(f"{path} is a folder without a record.json", hint)
    return record


def beside(record: Path, name: str) -> Path:
    """Where evidence of that name lies: in the run's folder, or with the run id in front where it is published."""
    return record.with_name(name if record.name == "record.json" else f"{record.stem}.{name}")


def checkpoint_beside(record: Path, condition: str) -> Path:
    """Where the measured network of a condition lies, if it does."""
    return beside(record, f"checkpoint-{condition}.safetensors")


def attestations(path: Path) -> tuple[list[Attestation], list[tuple[Path, Unreadable]]]:
    """The attestations beside the record at ``path``, by name; and files that are named like one and are none."""
    start = beside(path, SUFFIX).name.removesuffix(SUFFIX)
    files = sorted(file for file in path.parent.glob(f"*{SUFFIX}") if file.name.startswith(start))
    found: list[Attestation] = []
    wrong: list[tuple[Path, Unreadable]] = []
    digest = file_sha256(path) if files else ""
    for number, file in enumerate(files):
        try:
            if number >= MOST:
                raise Unreadable(f"is one of {len(files)} attestations of a record, {MOST} at most are read")
            found.append(read_attestation(file, digest))
        except Unreadable as error:
            wrong.append((file, error))
            if number >= MOST:
                break
    return found, wrong


def hashed_file(path: Path, record: Record, name: str) -> Path:
    """The file ``name`` beside the record at ``path``.

    Raises:
        Unreadable: the record has no hash of it, it is not there, too large, or another file.
    """
    if name not in record.hashes.evidence:
        raise Unreadable("has no hash in the record")
    file = beside(path, name)
    if file.is_file() and file.stat().st_size > EVIDENCE_LIMIT:
        raise Unreadable(f"is larger than {EVIDENCE_LIMIT // 2**20} MiB")
    return same_file(file, record.hashes.evidence[name])


def same_file(file: Path, sha256: str) -> Path:
    """A file beside a record, if it has the hash that the record states.

    Raises:
        Unreadable: it is not there, or another file.
    """
    try:
        if not file.is_file():
            raise Unreadable("is not beside the record")
        if file_sha256(file) != sha256:
            raise Unreadable("is not the file that the record hashed")
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return file


def read_training_log(path: Path, record: Record) -> list[dict[str, Any]]:
    """The entries of the training log beside the record at ``path``.

    Raises:
        Unreadable: as ``hashed_file``, or it is no log.
    """
    content = read_bytes(hashed_file(path, record, LOG), LOG_LIMIT)
    try:
        return parse_log(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8") from None
    except LogError as error:
        raise Unreadable(error.message, error.line) from None


class Predictions(Mapping[str, NDArray[Any]]):
    """Per-example results of a run by ``<condition>/<task>/<name>``; read again when they are asked for, as thousands
    of runs are too much to hold."""

    def __init__(self, file: Path, sha256: str) -> None:
        self._key = (file, sha256)
        self._names = tuple(_arrays(*self._key))

    @classmethod
    def of(cls, path: Path, record: Record) -> Predictions:
        """Those beside the record at ``path``.

        Raises:
            Unreadable: as ``hashed_file``, or the file holds no arrays.
        """
        return cls(hashed_file(path, record, PREDICTIONS), record.hashes.evidence[PREDICTIONS])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return _arrays(*self._key)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@functools.lru_cache(maxsize=4)
def _arrays(file: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file of that content; whoever asks for one soon asks for another."""
    return read_arrays(same_file(file, sha256))
