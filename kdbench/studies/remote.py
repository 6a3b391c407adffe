"""A node's work on a machine that has nothing of the study: what it needs comes as bytes, and so goes what it leaves.

It knows no engine. torch is loaded by the process that does the node, not by the one that watches it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kdbench.files import DOWNLOADS, cache_folder
from kdbench.running.package import package_sha256
from kdbench.search_path import without_working_directory
from kdbench.studies.parcel import Changes, Files, lay
from kdbench.studies.process import worker_command, worker_environment

LOCK: Final = "lock"
"""Held with ``flock`` while a scratch folder is used: it lies on the machine's own disk."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a machine must have."""

    kdbench: str
    """Hash of the package's files."""
    data_dir: str
    """Folder of image sets where the study was planned, "" for none. A machine without it has a KDBENCH_DATA_DIR."""
    scratch: str | None
    """Folder for what is computed; None: the machine's temporary folder."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One node, for a machine that has only this."""

    study: str
    key: str
    folders: tuple[str, ...]
    """That its work fills, in the folder of runs."""
    device: str
    threads: int
    keep_seconds: float
    wanted: Wanted
    labels: Files = dataclasses.field(default_factory=dict)
    """Users' files of labels, for the downloads of the machine."""


@dataclasses.dataclass(frozen=True)
class News:
    """What has become of a node since the last news."""

    files: Files = dataclasses.field(default_factory=dict)
    log: bytes = b""
    status: int | None = None
    """Exit status of its process, None while it runs."""
    gone: tuple[str, ...] = ()
    """Files that its work deleted."""
    unfit: str = ""
    """Why this machine can't do it."""


def unfit(wanted: Wanted) -> str:
    """Why this machine can't do a study's nodes, in one line; "" where it can."""
    where = f"machine {socket.gethostname()}"
    if package_sha256() != wanted.kdbench:
        return f"{where} has another kdbench than this one: install the same on both"
    if _data_dir(wanted) is None:
        return f"{where} has no folder {wanted.data_dir} of image sets and no KDBENCH_DATA_DIR for its workers"
    scratch = wanted.scratch or tempfile.gettempdir()
    if not os.access(scratch, os.W_OK):
        return f"{where} can't write to the scratch folder {scratch}: name another one"
    return ""


def _data_dir(wanted: Wanted) -> str | None:
    """Where this machine has its image sets; "" where none are needed, None where they are and aren't there."""
    if not wanted.data_dir or Path(wanted.data_dir).is_dir():
        return wanted.data_dir
    return os.environ.get("KDBENCH_DATA_DIR") or None


def work_remotely(job: Job, *parcels: Files) -> Iterator[News]:
    """Do a node in a process of its own, and give what it leaves: every ``keep_seconds``, and at its end.

    ``parcels``: what it needs, with what earlier attempts left of itself.
    """
    complaint = unfit(job.wanted)
    if complaint:
        yield News(unfit=complaint)
        return
    with _scratch(job.wanted) as folder:
        out = folder / "runs"
        for parcel in parcels:
            lay(out, parcel)
        lay(cache_folder() / DOWNLOADS, job.labels)
        changes = Changes(out, (*job.folders, f"studies/{job.study}/failed"))
        words = folder / "log.txt"
        with _start(job, out, words) as process, words.open("rb") as log:
            try:
                while True:
                    try:
                        status = process.wait(timeout=job.keep_seconds)
                    except subprocess.TimeoutExpired:
                        files, gone = changes.take() or ({}, ())
                        yield News(files, log.read(), gone=gone)
                        continue
                    files, gone = changes.take() or ({}, ())
                    last = News(files, log.read(), status, gone)
                    break
            finally:
                process.kill()
    yield last  # with the folder gone: who hears of the end may end this process


@contextlib.contextmanager
def _scratch(wanted: Wanted) -> Iterator[Path]:
    """A folder of one node's own. Those of nodes whose task was killed on this machine are removed first."""
    root, prefix = Path(wanted.scratch or tempfile.gettempdir()), f"kdbench-{socket.gethostname()}-"
    for left in root.glob(f"{prefix}*/{LOCK}"):
        with contextlib.suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=root, ignore_cleanup_errors=True) as name,
        (Path(name) / "new").open("wb") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        os.replace(file.name, Path(name) / LOCK)  # under this name it is never without its lock
        yield Path(name)


def _start(job: Job, out: Path, log: Path) -> subprocess.Popen[bytes]:
    command = worker_command(
        out, job.study, job.key, _data_dir(job.wanted) or "", job.device, job.threads, module=__name__
    )
    environment = worker_environment(job.threads)
    with log.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment)


def _end_with_parent() -> None:
    """The process that watches this one holds its standard input: when it is gone, so is who wants the result."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    without_working_directory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from kdbench.studies.worker import main

    sys.exit(main(sys.argv[1:]))
