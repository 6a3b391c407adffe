"""Locks between processes, on one machine or on many that share a folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from filelock import SoftFileLease, Timeout

from kdbench.errors import KdbenchError
from kdbench.files import writing

LEASE_SECONDS: Final = 120.0
"""A holder that has not been heard of for so long is dead, and another takes its place."""
HEARTBEAT_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.5


def locked(path: Path, waiting: Callable[[str], None] = lambda holder: None) -> AbstractContextManager[None]:
    """Hold a lock file: another process waits here until the first is done, or has died, for ``wait_seconds`` at most.

    For every file system that creates a file exclusively: local ones, and NFS since version 3, Lustre, GPFS, BeeGFS or
    CephFS, where ``flock`` may do nothing or hold for one machine alone. The file is a lease: its holder touches it
    every ``HEARTBEAT_SECONDS``, and one who waits takes it over when it did not change for ``LEASE_SECONDS`` by the
    clock of the one who waits, so clocks may differ. On the same machine a holder that is dead is seen at once. A
    holder that is stopped for longer and then goes on works beside its successor: what it writes must be the same, and
    written as a whole, as a training's is.

    ``waiting`` is called once, with the holder in words, where there is one. The file is made new and never followed
    as a link, with the rights that the user's umask leaves: another user of a shared folder waits as well.

    Raises:
        KdbenchError: the holder lives and is not done in time, or ``path`` is no lock.
        WriteError: no file can be made there.
    """

    def wait(lease: SoftFileLease) -> None:
        waiting(_holder(lease))
        _wait(lease, path)

    return _held(path, wait)


def owned(path: Path, taken: Callable[[str], KdbenchError]) -> AbstractContextManager[None]:
    """The same, but where another process holds it: raise what ``taken`` makes of the holder in words."""

    def refuse(lease: SoftFileLease) -> None:
        raise taken(_holder(lease)) from None

    return _held(path, refuse)


@contextlib.contextmanager
def _held(path: Path, otherwise: Callable[[SoftFileLease], None]) -> Iterator[None]:
    """Hold it; where another process does, ``otherwise`` gets the lease or raises."""
    with writing(path):
        lease = _lease(path)
        try:
            lease.acquire(timeout=0)
        except Timeout:
            otherwise(lease)
    try:
        yield
    finally:
        lease.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file now, as far as can be seen without waiting: a dead one on another machine
    counts for ``LEASE_SECONDS`` more."""
    if not path.exists():
        return False
    try:
        with _lease(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lease(path: Path) -> SoftFileLease:
    path.parent.mkdir(parents=True, exist_ok=True)
    return SoftFileLease(path, lease_duration=LEASE_SECONDS, heartbeat_interval=HEARTBEAT_SECONDS)


def wait_seconds() -> float:
    """How long a process waits for another: ``KDBENCH_WAIT_HOURS``, or a day.

    Raises:
        KdbenchError: it is no number of hours.
    """
    text = os.environ.get("KDBENCH_WAIT_HOURS", "24")
    try:
        hours = float(text)
        if hours >= 0:  # not a number is not
            return 3600 * hours
    except ValueError:
        pass
    raise KdbenchError(f"KDBENCH_WAIT_HOURS is '{text}'", "give a number of hours, such as 24 or 0.5")


def _wait(lease: SoftFileLease, path: Path) -> None:
    end = time.monotonic() + wait_seconds()
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(Timeout):
            lease.acquire(timeout=min(LEASE_SECONDS, left), poll_interval=POLL_SECONDS)
            return
        # A holder that died between making the file and writing its name left it empty: that is no lease to run out.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and path.stat().st_size == 0:
                path.unlink()
    raise KdbenchError(
        f"{path} is still held by {_holder(lease)}: waited for {wait_seconds() / 3600:g} h",
        "end that process, wait longer with KDBENCH_WAIT_HOURS, or delete the file if nobody holds it",
    )


def _holder(lease: SoftFileLease) -> str:
    """In words."""
    owner = lease.owner
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"
