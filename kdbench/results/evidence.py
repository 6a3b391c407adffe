"""A record with the files beside it, and what is not used of a folder of records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kdbench.results.record import Record


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A record with the files beside it."""

    record: Record
    path: Path
    """Of the record's JSON file."""
    log: tuple[Mapping[str, Any], ...] | None
    """Training log, an entry an epoch and condition; None when it is not there or not the one that was hashed."""
    predictions: Mapping[str, NDArray[Any]] | None
    """Per-example results: ``<condition>/<task>/<name>`` to an array; None as for ``log``."""
    notes: tuple[str, ...] = ()
    """What is wrong with the files: "predictions.npz is not the file that the record hashed"."""


@dataclasses.dataclass(frozen=True)
class Excluded:
    """A file that is not ranked, and why."""

    path: Path
    reason: str
    run_id: str = ""
    suite: str = ""
    method: str = ""


def exclude(one: Evidence, reason: str) -> Excluded:
    """A record that is read and not ranked."""
    record = one.record
    return Excluded(one.path, reason, record.run_id, record.spec.suite.name, record.spec.method)
