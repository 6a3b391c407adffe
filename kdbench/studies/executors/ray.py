"""Tasks on a Ray cluster, whose machines need no common disk: files go through the object store.

Each task watches a process of the same worker that the local engine starts, so results are the same to the last bit and
nothing of one node is left for the next. Ray repeats nothing: a node whose task died is submitted again from here, with
what it had left by then.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from kdbench.data import DataPlace
from kdbench.errors import KdbenchError, first_line
from kdbench.noise.label_files import for_elsewhere
from kdbench.packages import extra, load, require
from kdbench.running.options import RunOptions
from kdbench.running.package import package_sha256
from kdbench.sealed import DamagedError
from kdbench.specs import Spec
from kdbench.studies.executors import settings_of
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import Node
from kdbench.studies.parcel import lay, read
from kdbench.studies.process import Ends
from kdbench.studies.remote import Job, News, Wanted, unfit, work_remotely
from kdbench.studies.study import Study, read_values

POLL_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 120.0
"""For a machine's first answer, which waits for a Python process there."""


class RaySettings(Spec):
    """``[engine.ray]`` of a study."""

    address: str | None = None
    """``auto`` for the cluster that this machine belongs to, or HOST:PORT of one; None: that of ``RAY_ADDRESS`` or of
    this machine, or else one that is started here for the sweep."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Nodes at a time; None: as many as the cluster has room for. A cluster that grows on demand needs a number."""
    cpus: Annotated[float, Field(gt=0)] | None = None
    """Of one node; None: its threads."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """Of one node, 0.5 for two nodes on a GPU; None: 1 where the device is one, else 0."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Main memory of one node, where Ray is to keep account of it."""
    scratch: str | None = None
    """Folder on every machine for what is computed; None: its temporary folder."""
    keep_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How often a running node's last epoch is brought here: so much is lost at most when its machine is."""


def check_settings(settings: Mapping[str, Any]) -> RaySettings:
    """As for every engine."""
    require("executor 'ray'", "ray", extra("ray"))
    found = read_values("[engine.ray]", RaySettings, settings)
    if found.address not in (None, "auto") and not re.fullmatch(r"[^/\s]+:\d{1,5}", str(found.address)):
        raise KdbenchError(
            f"Ray's address is '{found.address}'", "write auto or HOST:PORT, and sweep on a machine of the cluster"
        )
    return found


def make(folder: StudyFolder, study: Study, options: RunOptions) -> RayExecutor:
    """As for every engine: connected, and its machines checked."""
    settings = check_settings(settings_of(study, "ray"))
    return RayExecutor(folder, settings, threads=study.threads, device=options.device.type, place=options.place)


class RayExecutor:
    """Submits a task for each node and writes what tasks bring into the study's folder."""

    def __init__(
        self, folder: StudyFolder, settings: RaySettings, *, threads: int, device: str, place: DataPlace
    ) -> None:
        self._folder, self._settings, self._threads, self._device = folder, settings, threads, device
        gpus = settings.gpus if settings.gpus is not None else float(device.startswith("cuda"))
        self._needed = {"CPU": settings.cpus or float(threads), "GPU": gpus, "memory": (settings.memory_gb or 0) * 1e9}
        self._place = place
        data = str(place.data_dir.resolve()) if place.data_dir else ""
        self._wanted = Wanted(package_sha256(), data, settings.scratch)
        self._nodes: dict[str, Node] = {}
        self._running: dict[Any, Node] = {}
        self._artifacts: dict[str, Any] = {}
        self._ends = Ends(folder)
        self._ray: Any = load("executor 'ray'", "ray", extra("ray"))
        connect(self._ray, settings.address)
        self._task = self._ray.remote(work_remotely).options(
            num_cpus=self._needed["CPU"],
            num_gpus=self._needed["GPU"],
            memory=self._needed["memory"] or None,
            num_returns="streaming",
            max_retries=0,
            retry_exceptions=False,
        )
        try:
            self._workers = self._places()
            self._check()
        except BaseException:
            self.stop()
            raise

    def _machines(self) -> list[dict[str, Any]]:
        """That a node fits on."""
        alive = [machine for machine in self._ray.nodes() if machine["Alive"]]
        return [machine for machine in alive if self._room(machine)]

    def _room(self, machine: Mapping[str, Any]) -> int:
        there = machine["Resources"]
        return int(min(there.get(name, 0.0) / amount for name, amount in self._needed.items() if amount))

    def _places(self) -> int:
        return self._settings.workers or sum(self._room(machine) for machine in self._machines())

    def _check(self) -> None:
        """Raise ``KdbenchError`` unless there is a machine, and all of them have what nodes need."""
        machines = self._machines()
        if not self._workers:
            asked = ", ".join(f"{amount:g} {name}" for name, amount in self._needed.items() if amount)
            raise KdbenchError(
                f"no machine of the Ray cluster has {asked} for a node",
                "ask for less in [engine.ray], or say workers = N where the cluster grows on demand",
            )
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self._ray.remote(num_cpus=0, max_retries=0)(unfit)
        pinned = [NodeAffinitySchedulingStrategy(machine["NodeID"], soft=False) for machine in machines]
        answers = [ask.options(scheduling_strategy=strategy).remote(self._wanted) for strategy in pinned]
        for machine, answer in zip(machines, answers, strict=True):
            try:
                complaint = self._ray.get(answer, timeout=CHECK_SECONDS)
            except self._ray.exceptions.RayError as error:
                name = machine["NodeManagerHostname"]
                raise KdbenchError(
                    f"machine {name} of the Ray cluster can't work: {self._why(error)}", "is kdbench installed there?"
                ) from None
            if complaint:
                raise KdbenchError(complaint)

    def workers(self) -> int:
        """As for every executor: when it was made."""
        return self._workers

    def free(self) -> int:
        """As for every executor. Machines come and go."""
        return max(0, self._places() - len(self._running))

    def start(self, key: str) -> None:
        """As for every executor."""
        if not self._nodes:
            self._plan = self._folder.plan()
            self._nodes = {node.key: node for node in self._plan.nodes}
            noises = [condition.noise for condition in self._plan.suite.conditions.values()]
            self._labels = for_elsewhere(noises, self._place)
        node = self._nodes[key]
        self._folder.forget_failure(key)
        job = Job(
            self._folder.name, key, node.folders, self._device, self._threads, self._settings.keep_seconds,
            self._wanted, self._labels,
        )  # fmt: skip
        needs = [self._nodes[need] for need in node.needs]
        alone = self._plan.model_copy(update={"nodes": (*needs, node)})
        own = {f"studies/{self._folder.name}/plan.json": alone.model_dump_json().encode()}
        own |= read(self._folder.out, node.folders)
        self._running[self._task.remote(job, own, *map(self._artifact, needs))] = node

    def _artifact(self, node: Node) -> Any:
        """A trained network in the object store."""
        if node.key not in self._artifacts:
            files = read(self._folder.out, [Path(node.path).parent.as_posix()])
            self._artifacts[node.key] = self._ray.put(files)
        return self._artifacts[node.key]

    def wait(self) -> Mapping[str, str]:
        """As for every executor; nothing when nothing has ended for a while, as there may be new machines."""
        if not self._running:
            time.sleep(POLL_SECONDS)
            return {}
        ended = {}
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL_SECONDS)
        for task in ready:
            node = self._running[task]
            error = self._hear(task, node)
            if error is not None:
                ended[node.key] = error
        return ended

    def _hear(self, task: Any, node: Node) -> str | None:
        """Take what a task brings: its node's error, "" where it is done, None where it isn't yet."""
        try:
            news: News = self._ray.get(next(task))
        except (self._ray.exceptions.RayError, StopIteration) as failure:
            why = self._why(failure)
            self._log(node, f"its task on Ray ended: {why}\n".encode())
            error = self._ends.died(node.key, why)
        else:
            try:
                self._keep(node, news)
            except DamagedError as damage:  # what came before is here, and it goes on from there
                self._log(node, f"{damage}\n".encode())
                self._ray.cancel(task, force=True)
                error = self._ends.died(node.key, str(damage))
            else:
                if news.status is None:
                    return None
                error = self._ends.error(node.key, news.status)
        del self._running[task]
        if error is None:
            for need in node.needs:
                self._artifacts.pop(need, None)  # it may have been lost with a machine
            self.start(node.key)
        return error

    def _keep(self, node: Node, news: News) -> None:
        if news.unfit:
            raise KdbenchError(news.unfit)
        self._log(node, news.log)
        lay(self._folder.out, news.files, news.gone)

    def _log(self, node: Node, words: bytes) -> None:
        log = self._folder.log(node.key)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(words)

    def _why(self, error: BaseException) -> str:
        """What Ray says of a task, in a line: of a traceback the last."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return lines[-1 if isinstance(error, self._ray.exceptions.RayTaskError) else 0]

    def stop(self) -> None:
        """As for every executor."""
        for task in self._running:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        self._running.clear()
        self._ray.shutdown()


def connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine where none is named and none runs.

    Raises:
        KdbenchError: there is none at that address, or it is not for this version of Ray or without this token.
    """
    named = address or os.environ.get("RAY_ADDRESS", "")
    if ":" in named:
        check_listening(named)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError as error:
        raise KdbenchError(
            f"the Ray cluster asks for a token: {first_line(error)}", "put it in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        ) from None
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise KdbenchError(
            f"no Ray cluster at '{named or 'this machine'}': {first_line(error)}",
            "`ray start --head` starts one; without --address the sweep starts its own",
        ) from None


def check_listening(address: str) -> None:
    """Raise ``KdbenchError`` where no gRPC server answers at HOST:PORT. Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    hint = "start it with `ray start --head`, or name another --address"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.settimeout(CONNECT_SECONDS)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise KdbenchError(
            f"no Ray cluster at '{address}': {getattr(error, 'strerror', None) or error}", hint
        ) from None
    if answer[3:4] != b"\x04":  # the settings that a gRPC server begins with
        raise KdbenchError(f"what listens at '{address}' is no Ray cluster", hint)
