"""Processes on this machine: one node each, threads and GPUs divided among them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kdbench.errors import KdbenchError
from kdbench.specs import Spec
from kdbench.studies.folder import StudyFolder

DEATHS = 3
"""How often a worker may die of a signal at one node before the node counts as failed."""
POLL_SECONDS = 0.1


class LocalSettings(Spec):
    """``[engine.local]`` of a study."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Nodes at a time; None: as many as there are cores for their threads, or one a GPU."""
    per_gpu: Annotated[int, Field(ge=1)] = 1
    """Nodes at a time on one GPU, where its memory holds them."""


@dataclasses.dataclass
class _Worker:
    key: str
    slot: int
    process: subprocess.Popen[bytes]


class LocalExecutor:
    """Starts a process for each node. One that dies of a signal is started again and goes on from the last epoch."""

    def __init__(
        self, folder: StudyFolder, settings: Mapping[str, Any], *, threads: int, device: str, data_dir: Path | None
    ) -> None:
        asked = LocalSettings.model_validate(dict(settings))
        self._folder, self._threads, self._device, self._data_dir = folder, threads, device, data_dir
        self._gpus = visible_gpus() if device == "cuda" else []
        places = len(self._gpus) * asked.per_gpu if self._gpus else max(1, cores() // threads)
        self.workers = asked.workers or places
        self._idle = list(range(self.workers))[::-1]
        self._running: list[_Worker] = []
        self._deaths: dict[str, int] = {}

    def free(self) -> int:
        """As for every executor."""
        return len(self._idle)

    def start(self, key: str) -> None:
        """As for every executor."""
        self._running.append(self._spawn(key, self._idle.pop()))

    def wait(self) -> Mapping[str, str]:
        """As for every executor."""
        while True:
            ended = {}
            for worker in [one for one in self._running if one.process.poll() is not None]:
                self._running.remove(worker)
                error = self._ended(worker)
                if error is None:
                    self._running.append(self._spawn(worker.key, worker.slot))
                else:
                    self._idle.append(worker.slot)
                    ended[worker.key] = error
            if ended:
                return ended
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """As for every executor."""
        for worker in self._running:
            worker.process.send_signal(signal.SIGINT)
        for worker in self._running:
            try:
                worker.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._running.clear()

    def _ended(self, worker: _Worker) -> str | None:
        """Its error, "" for none, None where it is to be started again."""
        status = worker.process.returncode
        if status == 0:
            return ""
        if status == 1:
            return (
                self._folder.failure(worker.key) or f"its worker failed: {self._folder.log(worker.key)} has its words"
            )
        self._deaths[worker.key] = self._deaths.get(worker.key, 0) + 1
        if self._deaths[worker.key] < DEATHS:
            return None
        died = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"its worker died {DEATHS} times, last of {died}: {self._folder.log(worker.key)} has its words"

    def _spawn(self, key: str, slot: int) -> _Worker:
        log = self._folder.log(key)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            "OMP_WAIT_POLICY": "PASSIVE",  # workers share cores: a thread that waits must not spin
            **os.environ,
            "OMP_NUM_THREADS": str(self._threads),
        }
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        command = [
            sys.executable, "-m", "kdbench.studies.worker", str(self._folder.out), self._folder.name, key,
            str(self._data_dir or ""), self._device, str(self._threads),
        ]  # fmt: skip
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        return _Worker(key, slot, process)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [name.strip() for name in named.split(",")][:count] if named else [str(place) for place in range(count)]


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise ``KdbenchError`` for settings that ``[engine.local]`` has not."""
    from pydantic import ValidationError

    from kdbench.specs import first_problem

    try:
        LocalSettings.model_validate(dict(settings))
    except ValidationError as error:
        raise KdbenchError(f"executor local: {first_problem(error)}", "it has: workers, per_gpu") from None
