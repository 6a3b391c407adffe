"""Asking for a node: the job, what is heard of it while it goes on, and how it ended."""

from __future__ import annotations

import builtins
import contextlib
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from kdbench.errors import KdbenchError, named
from kdbench.inference.prediction import NotFiniteError
from kdbench.progress import say
from kdbench.running.isolated.messages import received, send
from kdbench.running.isolated.server import connect
from kdbench.running.isolated.state import Process
from kdbench.training.loop import TrainingDivergedError

GRACE_SECONDS = 10.0
"""A node that is told to end has so long until it is killed."""
PREFIX = "KDBENCH_"
"""Environment variables that a node gets as they are now."""


class NodeError(Exception):
    """Code of a node raised what nobody expected: its words, and its traceback as a note."""


class NodeDiedError(Exception):
    """The process of a node ended without a word."""


def ask(
    job: Mapping[str, Any], plugins: list[str], *, minutes: float | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> dict[str, Any]:  # fmt: skip
    """Have a node done in a process of its own, and return its answer.

    Args:
        job: as ``node`` reads it.
        plugins: the distributions whose plugins are loaded for it beside kdbench's own.
        minutes: after which it is killed.
        on_epoch: called when the log of a training has another epoch.

    Raises:
        KdbenchError, TrainingDivergedError, NotFiniteError, KeyboardInterrupt: as the node did.
        NodeError: it raised something else.
        NodeDiedError: it did not get so far.
    """
    with connect() as connection:
        send(connection, {**job, **_situation(), "plugins": plugins})
        heard = _Heard(on_epoch)
        try:
            heard.all(received(connection, None if minutes is None else time.monotonic() + 60 * minutes))
        except TimeoutError:
            _end(connection, heard)
            raise NodeDiedError(f"its process did not end after the {minutes:g} minutes that it had") from None
        except BaseException:
            _end(connection, heard)
            raise
    return _result(heard)


def _situation() -> dict[str, Any]:
    """What a node must know of whoever asks."""
    return {
        "folder": os.getcwd(),
        "arguments": sys.argv,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(PREFIX)},
        "threads": torch.get_num_threads(),
    }


class _Heard:
    """What a node has said."""

    def __init__(self, on_epoch: Callable[[], None]) -> None:
        self.on_epoch = on_epoch
        self.pid: int | None = None
        self.answer: dict[str, Any] | None = None
        self.status: int | None = None

    def all(self, messages: Iterator[dict[str, Any]]) -> None:
        """Until it has ended."""
        for message in messages:
            match message:
                case {"pid": int(pid)}:
                    self.pid = pid
                case {"epoch": _}:
                    self.on_epoch()
                case {"say": str(line)}:
                    say([line])
                case {"warning": str(text), "category": str(name)}:
                    warnings.warn(text, _category(name), stacklevel=4)
                case {"answer": dict(answer)}:
                    self.answer = answer
                    Process.spent.add(answer)
                case {"ended": dict(ended)}:
                    self.status = ended["status"]
                    Process.spent.add(ended)
                    return


def _category(name: str) -> type[Warning]:
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning


def _end(connection: socket.socket, heard: _Heard) -> None:
    """Have a node end: what it holds is let go, and its last whole epoch stays. It is killed where it takes long."""
    heard.on_epoch = lambda: None
    try:
        with contextlib.suppress(OSError):
            send(connection, {"end": True})
        heard.all(received(connection, time.monotonic() + GRACE_SECONDS))
    except BaseException as error:  # the time is up, or whoever waits was interrupted once more
        with contextlib.suppress(ProcessLookupError):
            if heard.pid is not None:
                os.kill(heard.pid, signal.SIGKILL)
        if not isinstance(error, TimeoutError):
            raise


def _result(heard: _Heard) -> dict[str, Any]:
    match heard.answer:
        case {"mistake": [message, hint]}:
            raise KdbenchError(message, hint)
        case {"not_finite": [message, hint]}:
            raise NotFiniteError(message, hint)
        case {"diverged": [epoch, what]}:
            raise TrainingDivergedError(epoch, what)
        case {"interrupted": _}:
            raise KeyboardInterrupt
        case {"error": text, "traceback": traceback}:
            error = NodeError(text)
            error.add_note(traceback)
            raise error
        case {"result": dict(result)}:
            return result
    raise NodeDiedError(f"its process {how_it_ended(heard.status)}")


def how_it_ended(status: int | None) -> str:
    """Of a process without an answer, in words.

    >>> how_it_ended(-9), how_it_ended(0)
    ('was ended by signal SIGKILL, as the system does when memory is full', 'ended by itself, with exit status 0')
    """
    if status is None:
        return "is gone"
    if status >= 0:
        return f"ended by itself, with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    more = ", as the system does when memory is full" if status == -signal.SIGKILL else ""
    return f"was ended by signal {name}{more}"


def words(error: BaseException) -> str:
    """``named`` of an error; of one that a node had, what it was there."""
    return str(error) if isinstance(error, NodeError | NodeDiedError) else named(error)
