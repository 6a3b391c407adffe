"""The process that does one node: a run with its measurements, a training, or a command that measures. It loads the
plugins that this needs."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError, named
from kdbench.running.isolated.messages import received, send
from kdbench.running.isolated.state import Process

if TYPE_CHECKING:
    from kdbench.running.options import RunOptions

Tell = Callable[[Mapping[str, Any]], None]
ENOUGH = 1
"""Exit status of a node whose asker is gone."""


def main(connection: socket.socket) -> int:
    """Do what is asked on the connection, and answer there. The result is the exit status."""
    messages = received(connection)
    job = next(messages, None)
    if job is None:
        return ENOUGH
    threading.Thread(target=_watch, args=(messages,), daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        send(connection, message)

    tell({"pid": os.getpid()})
    answer = _answer(job, tell)
    tell({"answer": {**answer, **_used(job)}})
    return 0 if "result" in answer else 1


def _watch(messages: Any) -> None:
    """End as whoever asked says; at once where they are gone: nobody else may do the same node meanwhile."""
    for message in messages:
        if "end" in message:
            os.kill(os.getpid(), signal.SIGINT)
    os._exit(ENOUGH)


def _answer(job: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    from kdbench.inference.prediction import NotFiniteError
    from kdbench.training.loop import TrainingDivergedError

    try:
        _prepare(job, tell)
        return {"result": JOBS[job["kind"]](job, tell)}
    except TrainingDivergedError as error:
        return {"diverged": [error.epoch, error.what]}
    except NotFiniteError as error:
        return {"not_finite": [error.message, error.hint]}
    except KdbenchError as error:
        return {"mistake": [error.message, error.hint]}
    except KeyboardInterrupt:
        return {"interrupted": True}
    except (Exception, SystemExit) as error:  # a method, a task or a model may be anybody's
        return {"error": named(error), "traceback": traceback.format_exc()}


def _prepare(job: Mapping[str, Any], tell: Tell) -> None:
    """Be as whoever asks, with other plugins."""
    import torch

    from kdbench.plugin.loader import CHOSEN, NONE, load_plugins

    os.chdir(job["folder"])
    sys.argv = job["arguments"]
    os.environ.update(job["environment"])
    os.environ[CHOSEN] = ",".join(job["plugins"]) or NONE
    Process.node = job["node"]
    if torch.get_num_threads() != job["threads"]:
        torch.set_num_threads(job["threads"])

    def warn(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        tell({"warning": str(message), "category": category.__name__})

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell({"say": record.getMessage()})

    warnings.showwarning = warn
    logger = logging.getLogger("kdbench")
    logger.handlers, logger.propagate = [Teller()], False
    load_plugins.cache_clear()


def options_as_values(options: RunOptions) -> dict[str, Any]:
    """As ``_options`` reads them."""
    place = options.place
    return {
        "data_dir": None if place.data_dir is None else str(place.data_dir),
        "cache_dir": str(place.cache_dir),
        "download": place.download,
        "progress": place.progress,
        "device": str(options.device),
        "out": str(options.out),
        "compile": options.compile,
        "timeout": options.timeout,
    }


def _options(values: Mapping[str, Any]) -> RunOptions:
    from kdbench.data import DataPlace
    from kdbench.devices import resolve_device
    from kdbench.running.options import RunOptions

    place = DataPlace.default(
        values["data_dir"], cache_dir=values["cache_dir"], download=values["download"], progress=values["progress"]
    )
    return RunOptions(
        place, resolve_device(values["device"]), Path(values["out"]), values["compile"], values["timeout"]
    )


def _run(job: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.plan import Plan
    from kdbench.running.runner import run_here
    from kdbench.specs import Suite

    suite = Suite.model_validate(job["suite"])
    conditions, tasks = job["conditions"], job["tasks"]
    plan = Plan.make(suite, load_plugins(), job["method"], job["params"], conditions, tasks)
    done = run_here(
        plan, job["seed"], _options(job["options"]), fresh=job["fresh"], track=job["track"], died=job["died"]
    )
    return {"path": str(done.path), "whole": done.whole}


def _train(job: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    from kdbench.running.isolated.trainings import train_here

    train_here(job, _options(job["options"]), lambda: tell({"epoch": True}))
    return {}


def _command(job: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    Process.records = []
    module, _, name = job["again"].partition(":")
    status = getattr(importlib.import_module(module), name)()
    return {"status": status, "records": [str(path) for path in Process.records]}


JOBS: Mapping[str, Callable[[Mapping[str, Any], Tell], dict[str, Any]]] = {
    "run": _run,
    "train": _train,
    "command": _command,
}


def _used(job: Mapping[str, Any]) -> dict[str, Any]:
    """Beside what the system counts of a process: what its own nodes took, and an accelerator's memory."""
    spent = Process.spent
    memory = spent.device_memory_bytes
    with contextlib.suppress(Exception):  # the device of a mistake
        import torch

        from kdbench.devices import peak_memory

        own = peak_memory(torch.device(job["options"]["device"]))
        memory = memory if own is None else max(memory or 0, own)
    return {
        "cpu_seconds": spent.cpu_seconds, "memory_bytes": spent.memory_bytes, "device_memory_bytes": memory,
    }  # fmt: skip
