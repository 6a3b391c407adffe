"""Hands a study's nodes to SLURM, needs first, and watches them where somebody waits."""

from __future__ import annotations

import contextlib
import getpass
import io
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kdbench.errors import KdbenchError
from kdbench.packages import load
from kdbench.progress import say
from kdbench.studies.executors.slurm import PACKAGE, SlurmSettings
from kdbench.studies.executors.slurm.batches import Batch, Batches
from kdbench.studies.executors.slurm.queue import check_shared, command, fate, ids_of, in_a_line, in_queue
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node
from kdbench.studies.process import Ends

POLL_SECONDS: Final = 5.0
RUNNING: Final = "RUNNING", "COMPLETING", "STOPPED", "SUSPENDED"
"""States of a job that has begun."""

Handed = tuple[str, Collection[str]]
"""A node's key and those of its needs."""


class SlurmExecutor:
    """Job arrays of nodes that have the same needs, each of which waits for the jobs of its needs.

    It waits until those have ended, however they did (``afterany``), and its worker then looks into the folder whether
    what it needs is there. So a failed need ends what waits for it on every cluster; with ``afterok`` that would stay
    in the queue for ever where the cluster isn't told otherwise, and a need that was finished by another job, after
    its own had died, would not count.
    """

    def __init__(
        self, folder: StudyFolder, settings: SlurmSettings, threads: int, device: str, data_dir: Path | None
    ) -> None:
        self._folder, self._settings, self._threads, self._device = folder, settings, threads, device
        self._data_dir = str(data_dir.resolve()) if data_dir else ""
        self._batches = Batches(folder)
        self._users = self._batches.users() | {getpass.getuser()}
        self._ends = Ends(folder)
        self._silent = False
        self._handed: dict[str, str] = {}
        """Key to job, of nodes that nobody watches yet."""
        self._early: set[str] = set()
        """Keys of nodes that were handed in before their needs were done."""
        self._watched: dict[str, str] = {}
        """Key to job."""
        self._running: Collection[str] = ()
        """Jobs that ran when SLURM was last asked."""

    def submit(self, nodes: Sequence[Handed]) -> Mapping[str, str]:
        """Hand in what is not in the queue. The jobs of all of them, by key.

        Raises:
            KdbenchError: SLURM refuses, or its machines don't see the folder of runs.
        """
        self._settle()
        self._handed = self._give(nodes)
        self._early = {key for key, needs in nodes if needs}
        return dict(self._handed)

    def _give(self, nodes: Sequence[Handed]) -> dict[str, str]:
        jobs = self._alive()
        left = [(key, needs) for key, needs in nodes if key not in jobs]
        if left and not self._batches.all():
            check_shared(self._folder.out, self._settings)
        for needs, keys in _groups(left):
            waits = [jobs[need] for need in needs if need in jobs]
            size = self._settings.array_size
            for some in (keys[start : start + size] for start in range(0, len(keys), size)):
                batch = self._hand_in(some, waits)
                jobs |= {key: batch.job_of(place) for place, key in enumerate(batch.keys)}
        return {key: jobs[key] for key, _ in nodes}

    def workers(self) -> int:
        """As for every executor."""
        return self._settings.array_parallelism

    def free(self) -> int:
        """As for every executor: the queue takes all."""
        return 1

    def start(self, key: str) -> None:
        """As for every executor. Its job may be in the queue already, or have ended before its needs were done."""
        self._watched[key] = self._handed.pop(key, "") or self._give([(key, ())])[key]

    def wait(self) -> Mapping[str, str]:
        """As for every executor. A job that died is handed in again, a few times."""
        plan = self._folder.plan()
        while True:
            alive = self._look()
            ended = {}
            for key in [key for key, job in self._watched.items() if job not in alive]:
                error = self._error(plan.node(key), self._watched.pop(key))
                if error is None:
                    self.start(key)
                else:
                    ended[key] = error
            if ended:
                return ended
            time.sleep(POLL_SECONDS)

    def _look(self) -> Collection[str]:
        """Jobs in the queue. While a controller is started again, its jobs go on."""
        try:
            alive = in_queue(self._users)
        except KdbenchError as error:
            if not self._silent:
                say([str(error)])
            self._silent = True
            return set(self._watched.values())
        self._silent = False
        self._running = {job for job, state in alive.items() if state in RUNNING}
        return alive.keys()

    def running(self) -> Collection[str]:
        """As for every queue."""
        return [key for key, job in tuple(self._watched.items()) if job in self._running]

    def _error(self, node: Node, job: str) -> str | None:
        """Of a node whose job has left the queue: "" where it is done, None where it is to be handed in again."""
        state = self._folder.state(node)
        if state != "open":
            return "" if state == "done" else self._folder.error(node)
        if node.key in self._early:  # what it needs died, and was handed in again since
            self._early.remove(node.key)
            return None
        return self._ends.died(node.key, f"job {job}, {fate(job)}")

    def stop(self) -> None:
        """As for every executor, but what is in the queue stays there: nobody need watch it."""

    def _alive(self) -> dict[str, str]:
        """Jobs that are in the queue, by key."""
        alive = in_queue(self._users)
        return {key: job for key, job in self._batches.jobs().items() if job in alive}

    def _settle(self) -> None:
        """A batch whose submission was cut short may be in the queue, without what its jobs need: it is taken out."""
        for batch in self._batches.all():
            if batch.job is None:
                for job in ids_of(batch.name, batch.user):
                    command("scancel", job)
                self._batches.withdrawn(batch)

    def _hand_in(self, keys: Sequence[str], waits: Sequence[str]) -> Batch:
        from kdbench.studies.executors.slurm.job import NodeJob

        out = self._folder.out.resolve()
        folder = StudyFolder(out, self._folder.name)
        jobs = [
            NodeJob(out, folder.name, key, self._data_dir, self._device, self._threads, folder.log(key))
            for key in keys
        ]  # fmt: skip
        for key in keys:
            folder.forget_failure(key)
        batch = self._batches.add(keys)
        submitit: Any = load(*PACKAGE)
        try:
            executor = submitit.SlurmExecutor(folder.path / "slurm" / "jobs", max_num_timeout=self._settings.requeues)
            executor.update_parameters(**self._parameters(batch.name, waits))
            with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says is said once, below
                handed = executor.submit_array(jobs)
        except submitit.core.utils.FailedJobError as error:
            self._batches.withdrawn(batch)
            raise KdbenchError(
                f"sbatch refused {len(keys)} nodes: {in_a_line(str(error))}", "correct [engine.slurm] of the study"
            ) from None
        return self._batches.submitted(batch, handed[0].job_id.partition("_")[0])

    def _parameters(self, name: str, waits: Sequence[str]) -> dict[str, Any]:
        """As submitit's SlurmExecutor names them."""
        asked = self._settings
        cpus = asked.cpus or self._threads
        values = {
            "job_name": name,
            "partition": asked.partition,
            "account": asked.account,
            "time": asked.minutes,
            "cpus_per_task": cpus,
            "srun_args": [f"--cpus-per-task={cpus}"],  # since 22.05 srun doesn't take it from the job
            "gpus_per_node": asked.gpus_per_node or None,
            "mem": f"{round(asked.memory_gb * 1024)}M" if asked.memory_gb else None,
            "array_parallelism": asked.array_parallelism,
            "dependency": "afterany:" + ":".join(waits) if waits else None,
            "stderr_to_stdout": True,
            "setup": list(asked.setup) or None,
            "additional_parameters": dict(asked.sbatch) or None,
        }
        return {key: value for key, value in values.items() if value is not None}


def _groups(nodes: Iterable[Handed]) -> Iterator[tuple[frozenset[str], list[str]]]:
    """Nodes by what they need: a group comes after those of its needs."""
    groups: dict[frozenset[str], list[str]] = {}
    for key, needs in nodes:
        groups.setdefault(frozenset(needs), []).append(key)
    yield from groups.items()
