"""What lies in a folder of runs, run by run: what was asked, how it stands, and the scores. Nothing heavy is loaded."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from kdbench.errors import KdbenchError
from kdbench.locks import is_locked
from kdbench.results.evidence import Excluded
from kdbench.results.record import Record
from kdbench.results.store import SKIPPED, candidates, read_candidate
from kdbench.running.begun import BEGUN, Begun, read_begun
from kdbench.running.options import RECORD
from kdbench.sealed import FRESH
from kdbench.training.log import whole_epochs

RUN_ID: Final = re.compile("[0-9a-f]{16}")
DONE: Final = "checkpoint.safetensors"

State = Literal["finished", "failed", "running", "interrupted", "damaged"]


@dataclasses.dataclass(frozen=True)
class Found:
    """One run in a folder."""

    path: Path
    """Its folder, or of a published one its record."""
    suite: str
    method: str
    """Of a model that was evaluated and not trained here, where it came from."""
    run_id: str
    state: State
    note: str
    """Why it failed or can't be read, and where it was interrupted; "" where there is nothing to say."""
    changed: Mapping[str, Any] | None
    """Parameters and values of the suite that were given; None where nothing says which."""
    seed: int | None
    when: str
    """When it was finished, or something was last done of it: UTC, ISO 8601, to the second."""
    record: Record | None = None


def inventory(folder: Path) -> list[Found]:
    """Every run at and below a folder, of either layout, the newest last.

    Raises:
        KdbenchError: there is no such folder.
    """
    if not folder.is_dir():
        raise KdbenchError(f"no folder {folder}", "give a folder of runs, such as runs or leaderboards/records")
    found = [one for path in candidates(folder) if (one := _with_record(path)) is not None]
    there = {one.path for one in found}
    found += [_without_record(path) for path in _run_folders(folder) if path not in there]
    return sorted(found, key=lambda one: (one.when, one.path))


def _run_folders(folder: Path) -> Iterator[Path]:
    for root, folders, _ in os.walk(folder):
        if RUN_ID.fullmatch(Path(root).resolve().name):
            folders.clear()
            if any(Path(root).rglob("*")):  # an empty one is of a run that was refused
                yield Path(root)
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))


def _with_record(file: Path) -> Found | None:
    """What a record file says; None of a file that is none and is not called so."""
    folder = file.parent if file.name == RECORD else file
    one = read_candidate(file)
    if isinstance(one, Excluded):
        if file.name != RECORD and not RUN_ID.fullmatch(file.stem):
            return None
        suite, method = one.suite or _above(folder, 2), one.method or _above(folder, 1)
        run_id = one.run_id or file.stem
        return Found(folder, suite, method, run_id, "damaged", one.reason, None, None, _changed_at(file))
    spec, model, when = one.spec, one.evaluated, one.provenance.finished
    state: State = "finished" if one.status == "finished" else "failed"
    note = one.error or ""
    if _is_running(folder):
        state, note = "running", "again"
    elif _begun_again(folder, file):
        note = "running it afresh was interrupted"
    changed = {**spec.suite.changed, **(one.params_passed if model is None else model.params)}
    method = spec.method if model is None else model.source
    return Found(folder, spec.suite.name, method, one.run_id, state, note, changed, spec.seed, when, one)


def _begun_again(folder: Path, record: Path) -> bool:
    """Whether a run was begun after its record was written."""
    begun = folder / BEGUN
    return (folder / FRESH).is_dir() or (begun.is_file() and begun.stat().st_mtime > record.stat().st_mtime)


def _without_record(folder: Path) -> Found:
    """A run's folder in which no record lies yet."""
    begun = read_begun(folder) or read_begun(folder / FRESH)
    state: State = "running" if _is_running(folder) else "interrupted"
    changed = None if begun is None else {**begun.changes, **begun.params}
    note = "what was asked for is not known" if begun is None else _reached(begun, folder.resolve().parents[1])
    return Found(
        folder, _above(folder, 2), _above(folder, 1), folder.resolve().name, state, note, changed,
        None if begun is None else begun.seed, _changed_at(folder),
    )  # fmt: skip


def _reached(begun: Begun, suite: Path) -> str:
    """How far a run has come; ``suite`` is the folder of its suite's runs."""
    for network, part in begun.trainings.items():
        folder = suite / "trainings" / part.folder
        if not (folder / DONE).exists():
            return f"at epoch {whole_epochs(folder)} of {part.epochs} of {network}"
    return "all is trained, not all is measured"


def _is_running(folder: Path) -> bool:
    return is_locked(folder.parent / f"{folder.name}.lease")


def _above(path: Path, levels: int) -> str:
    """The name of a folder above."""
    return path.resolve().parents[levels - 1].name


def _changed_at(path: Path) -> str:
    newest = max((os.stat(one).st_mtime for one in (path, *(path.iterdir() if path.is_dir() else ()))), default=0.0)
    return datetime.datetime.fromtimestamp(newest, datetime.UTC).isoformat(timespec="seconds")
