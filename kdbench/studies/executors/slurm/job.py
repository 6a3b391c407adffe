"""What SLURM runs of a node: a process that starts its worker, and stops it in time to be queued again.

Nothing heavy is imported: the worker loads torch, not the one that watches it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from submitit.core.utils import DelayedSubmission

from kdbench.studies.process import INTERRUPTED, UNREADY, Ends, worker_command, worker_environment

STOP_SECONDS: Final = 60
"""How long a worker may take to end when it is asked to; SLURM gives 90 s in all."""
POLL_SECONDS: Final = 0.2


@dataclasses.dataclass
class NodeJob:
    """One node, for submitit: it carries only where the node is found, so that one who goes on looks what is there."""

    out: Path
    """Absolute, as ``data_dir``."""
    study: str
    key: str
    data_dir: str
    device: str
    threads: int
    log: Path
    _worker: int | None = dataclasses.field(default=None, init=False, repr=False)
    """Process id."""

    def __call__(self) -> None:
        """Do the node. A worker that dies of a signal is started again, and goes on from the last epoch."""
        ends: Ends | None = None
        while True:
            status = self._work()
            if status in (0, 1, UNREADY, INTERRUPTED):
                break
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            print(f"the worker died of {how}", flush=True)
            ends = ends or self._ends()
            if ends.died(self.key, how) is not None:
                break
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> DelayedSubmission:
        """The same again: called by submitit shortly before a job's time is up, or when it must make room."""
        self._stop()
        return DelayedSubmission(dataclasses.replace(self))

    def _ends(self) -> Ends:
        from kdbench.studies.folder import StudyFolder

        return Ends(StudyFolder(self.out, self.study))

    def _work(self) -> int:
        command = worker_command(self.out, self.study, self.key, self.data_dir, self.device, self.threads)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # SLURM tells all processes of a job that its time is up: the worker must not die of that.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
        try:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=worker_environment(self.threads),
                )  # fmt: skip
            self._worker = process.pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while (status := process.poll()) is None:
            time.sleep(POLL_SECONDS)
        self._worker = None
        return status

    def _stop(self) -> None:
        """End the worker, in a signal's handler: what waits for it further up must not be asked."""
        if self._worker is None:
            return
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._worker, signal.SIGINT)
            for _ in range(int(STOP_SECONDS / POLL_SECONDS)):
                if os.waitid(os.P_PID, self._worker, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                    return
                time.sleep(POLL_SECONDS)
            os.kill(self._worker, signal.SIGKILL)
