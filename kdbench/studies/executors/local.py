"""Processes on this machine: one node each, threads and GPUs divided among them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kdbench.running.options import RunOptions
from kdbench.specs import Spec
from kdbench.studies.executors import settings_of
from kdbench.studies.folder import StudyFolder
from kdbench.studies.process import Ends, worker_command, worker_environment
from kdbench.studies.study import Study, read_values

POLL_SECONDS = 0.1


class LocalSettings(Spec):
    """``[engine.local]`` of a study."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Nodes at a time; None: as many as there are cores for their threads, or one a GPU."""
    per_gpu: Annotated[int, Field(ge=1)] = 1
    """Nodes at a time on one GPU, where its memory holds them."""


def check_settings(settings: Mapping[str, Any]) -> LocalSettings:
    """As for every engine."""
    return read_values("[engine.local]", LocalSettings, settings)


def make(folder: StudyFolder, study: Study, options: RunOptions) -> LocalExecutor:
    """As for every engine."""
    return LocalExecutor(
        folder,
        check_settings(settings_of(study, "local")),
        threads=study.threads,
        device=str(options.device) if options.numbered else options.device.type,
        data_dir=options.place.data_dir,
    )


@dataclasses.dataclass
class _Worker:
    key: str
    slot: int
    process: subprocess.Popen[bytes]


class LocalExecutor:
    """Starts a process for each node. One that dies of a signal is started again and goes on from the last epoch."""

    def __init__(
        self, folder: StudyFolder, settings: LocalSettings, *, threads: int, device: str, data_dir: Path | None
    ) -> None:
        self._folder, self._threads, self._device, self._data_dir = folder, threads, device, data_dir
        self._gpus = visible_gpus() if device == "cuda" else []
        places = len(self._gpus) * settings.per_gpu if self._gpus else max(1, cores() // threads)
        self.workers = settings.workers or places
        self._idle = list(range(self.workers))[::-1]
        self._running: list[_Worker] = []
        self._ends = Ends(folder)

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
                error = self._ends.error(worker.key, worker.process.returncode)
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

    def _spawn(self, key: str, slot: int) -> _Worker:
        log = self._folder.log(key)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = worker_environment(self._threads)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        command = worker_command(
            self._folder.out, self._folder.name, key, str(self._data_dir or ""), self._device, self._threads
        )
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
