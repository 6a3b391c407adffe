"""Processes on this machine: one node each, threads and GPUs divided among them."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from kdbench.devices import memory
from kdbench.progress import say
from kdbench.running.options import RunOptions
from kdbench.specs import Spec
from kdbench.studies.executors import settings_of
from kdbench.studies.folder import StudyFolder
from kdbench.studies.process import Ends, worker_command, worker_environment
from kdbench.studies.sharing import Peaks, fitting
from kdbench.studies.study import Study, read_values

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 0.1


class LocalSettings(Spec):
    """``[engine.local]`` of a study."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Nodes at a time; None: as many as there are cores for their threads, or one a GPU."""
    per_gpu: Annotated[int, Field(ge=1)] | None = None
    """Nodes at a time on one GPU; None: as many as its free memory holds by earlier records of the suite, 1 where they
    don't say it."""


def check_settings(settings: Mapping[str, Any]) -> LocalSettings:
    """As for every engine."""
    return read_values("[engine.local]", LocalSettings, settings)


def make(folder: StudyFolder, study: Study, options: RunOptions) -> LocalExecutor:
    """As for every engine."""
    return LocalExecutor(
        folder,
        check_settings(settings_of(study, "local")),
        threads=study.threads,
        gpus=visible_gpus(options.device, alone=options.numbered),
        device=options.device.type,
        data_dir=options.place.data_dir,
    )


@dataclasses.dataclass
class _Worker:
    key: str
    slot: int
    process: subprocess.Popen[bytes]


class Gpu(NamedTuple):
    """An accelerator that workers see alone."""

    device: torch.device
    """In this process."""
    name: str
    """As ``CUDA_VISIBLE_DEVICES`` takes it; "" of one that is not CUDA's."""


class LocalExecutor:
    """Starts a process for each node. One that dies of a signal is started again and goes on from the last epoch."""

    def __init__(
        self, folder: StudyFolder, settings: LocalSettings, *, threads: int, gpus: Sequence[Gpu], device: str,
        data_dir: Path | None,
    ) -> None:  # fmt: skip
        self._folder, self._settings, self._threads = folder, settings, threads
        self._gpus, self._device, self._data_dir = gpus, device, data_dir
        self._running: list[_Worker] = []
        self._ends = Ends(folder)

    @functools.cached_property
    def _places(self) -> list[Gpu | None]:
        """The GPU of each worker. Asked for when the study has its plan."""
        at_once = max(1, cores() // self._threads)
        if not self._gpus:
            places: Sequence[Gpu | None] = [None] * at_once
        elif self._settings.per_gpu:
            places = [gpu for _ in range(self._settings.per_gpu) for gpu in self._gpus]
        else:
            counts = self._sharing()
            places = [gpu for turn in range(max(counts)) for gpu, count in zip(self._gpus, counts, strict=True)
                      if turn < count][: max(len(self._gpus), at_once)]  # fmt: skip
        wanted = self._settings.workers or len(places)
        return [places[number % len(places)] for number in range(wanted)]

    def _sharing(self) -> list[int]:
        """How many nodes each GPU takes."""
        plan = self._folder.plan()
        states = self._folder.states(plan.nodes)
        left = [node for node in plan.nodes if states[node.key] != "done"]
        peak = Peaks.of_folder(self._folder.out, plan.suite, self._device).most(plan, left)
        if peak is None:
            return [1] * len(self._gpus)
        free = [memory(gpu.device) for gpu in self._gpus]
        counts = [1 if there is None else fitting(there[0], peak) for there in free]
        if max(counts) > 1:
            say(
                [f"up to {max(counts)} nodes share a GPU: by earlier records each takes {peak / 2**30:.2g} GiB at most"]
            )
        return counts

    @functools.cached_property
    def _idle(self) -> list[int]:
        return list(range(self.workers()))[::-1]

    def workers(self) -> int:
        """As for every executor."""
        return len(self._places)

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
        gpu = self._places[slot]
        if gpu is not None and gpu.name:
            environment["CUDA_VISIBLE_DEVICES"] = gpu.name
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


def visible_gpus(device: torch.device, *, alone: bool) -> list[Gpu]:
    """The accelerators of a device's type that this process may use, or ``device`` alone; none where it is the CPU.

    Of others than CUDA's, which have no such variable, the one that torch takes by itself.
    """
    import torch

    if device.type != "cuda":
        return [] if device.type == "cpu" else [Gpu(device, "")]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = [name.strip() for name in named.split(",")][:count] if named else [str(place) for place in range(count)]
    found = [Gpu(torch.device("cuda", place), name) for place, name in enumerate(names)]
    return [gpu for gpu in found if gpu.device == device] if alone else found
