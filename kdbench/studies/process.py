"""The process that does one node: how it is called, and what its end means. Nothing heavy is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdbench.threads import wait_asleep

if TYPE_CHECKING:
    from kdbench.studies.folder import StudyFolder

DEATHS: Final = 3
"""How often a worker may die at one node before the node counts as failed."""

UNREADY: Final = 3
"""Exit status of a worker whose node's needs aren't done: it did nothing, and the node stays open."""

INTERRUPTED: Final = 130
"""Exit status of a worker that was asked to end: the node stays open."""


def worker_command(
    out: Path, study: str, key: str, data_dir: str, device: str, threads: int, *, module: str = "kdbench.studies.worker"
) -> list[str]:
    """The command line of a worker; an empty data folder is none."""
    return [sys.executable, "-m", module, str(out), study, key, data_dir, device, str(threads)]


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: its threads are the study's, whatever an engine sets."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    wait_asleep(environment)  # workers share cores
    return environment


class Ends:
    """What the ends of a study's workers mean: done, failed, or to be started again."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._deaths: dict[str, int] = {}

    def error(self, key: str, status: int) -> str | None:
        """Of an exit status: the node's error, "" for none, None where it is to be started again."""
        if status == 0:
            return ""
        if status == 1:
            return self._folder.failure(key) or f"its worker failed: {self._folder.log(key)} has its words"
        return self.died(key, f"signal {-status}" if status < 0 else f"exit status {status}")

    def died(self, key: str, how: str) -> str | None:
        """The same of a worker that died; after ``DEATHS`` of them the node has failed, as its folder says."""
        from kdbench.running.provenance import utc_now

        self._deaths[key] = self._deaths.get(key, 0) + 1
        if self._deaths[key] < DEATHS:
            return None
        error = f"its worker died {DEATHS} times, last of {how}: {self._folder.log(key)} has its words"
        self._folder.failed(key, error, utc_now())
        return error
