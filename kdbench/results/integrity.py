"""Whether all files of a folder of runs are as they were written, without torch as far as that goes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kdbench.errors import KdbenchError
from kdbench.files import check_archive
from kdbench.results.evidence import same_file
from kdbench.results.record import Record, read_record
from kdbench.results.untrusted import Unreadable
from kdbench.sealed import DAMAGED, MISSING, SUMS, SWAP, DamagedError, fault, faults, read_sums
from kdbench.training.log import LOG, LogError, read_log

RECORD: Final = "record.json"
OF_EARLIER_VERSIONS: Final = (RECORD, "checkpoint.safetensors", "resume.pt")
"""Files by which a folder without ``SHA256SUMS`` is known for a run's or a training's."""


@dataclass(frozen=True)
class Finding:
    """What is to be said of one file or folder."""

    path: Path
    what: str
    """In words, behind its path."""
    state: Literal["damaged", "note"]


@dataclass
class Count:
    """How much was looked at."""

    folders: int = 0
    files: int = 0
    """That were held against a hash."""


def verify(runs: Path, count: Count) -> Iterator[Finding]:
    """Look at every folder below ``runs``; what is as it was written is counted, the rest is a finding.

    It may be used meanwhile. Raises ``KdbenchError`` where there is no such folder.
    """
    if not runs.is_dir():
        raise KdbenchError(f"no folder {runs}", "name a folder of runs")
    for root, folders, files in os.walk(runs):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(root)
        if SUMS in files:
            yield from _sealed(folder, count)
        elif known := [name for name in OF_EARLIER_VERSIONS if name in files]:
            count.folders += 1
            yield from _earlier(folder, known[0], count)
        elif folder.name == "examples":
            yield from _examples(folder, count)
        for name in sorted(files):
            if name.endswith(DAMAGED):
                yield Finding(folder / name, "was set aside as damaged, and can be deleted", "note")


def _sealed(folder: Path, count: Count) -> Iterator[Finding]:
    count.folders += 1
    try:
        listed = read_sums(folder) or {}
    except DamagedError:
        listed = {}
        for name, what in faults(folder).items():
            yield Finding(folder / name, what, "damaged")
    for name in listed:
        count.files += 1
        if what := fault(folder, name):
            yield Finding(folder / name, what, "note" if what == MISSING else "damaged")
    if (folder / SWAP).is_dir():
        yield Finding(folder / SWAP, "is to take its folder's place, which was interrupted", "note")


def _earlier(folder: Path, known: str, count: Count) -> Iterator[Finding]:
    """A folder without a list: archives have checksums, logs a form, and a record hashes what lies beside it."""
    yield Finding(folder, f"has no {SUMS}: an earlier version made it, and not all of it can be checked", "note")
    try:
        for path in sorted(folder.glob("*.npz")) + sorted(folder.glob("resume.pt")):
            check_archive(path)
        read_log(folder)
        if known == RECORD:
            yield from _beside(folder, read_record(folder / RECORD), count)
    except zipfile.BadZipFile as error:
        yield Finding(path, f"is damaged ({error})", "damaged")
    except (LogError, UnicodeDecodeError) as error:
        yield Finding(folder / LOG, f"is damaged ({error})", "damaged")
    except KdbenchError as error:
        yield Finding(folder / RECORD, f"is damaged ({error.message})", "damaged")


def _beside(folder: Path, record: Record, count: Count) -> Iterator[Finding]:
    hashes = {f"checkpoint-{name}.safetensors": one.sha256 for name, one in record.hashes.students.items()}
    for name, sha256 in {**hashes, **record.hashes.evidence}.items():
        count.files += 1
        try:
            same_file(folder / name, sha256)
        except Unreadable as error:
            yield Finding(folder / name, error.message, "damaged")


def _examples(folder: Path, count: Count) -> Iterator[Finding]:
    """Adversarial examples, whose files state a hash of their own."""
    paths = sorted(folder.glob("*.safetensors"))
    if paths:
        from kdbench.running.kept_examples import damage

        count.folders += 1
        for path in paths:
            count.files += 1
            if what := damage(path):
                yield Finding(path, what, "damaged")
