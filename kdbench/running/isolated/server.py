"""The process that all nodes are forked from: it has imported torch, kdbench and its own plugins, and computed nothing.

A command forks it from itself, before it imports a plugin of a third party, where that is safe; whoever else asks for a
node starts it anew. It ends with the process that it was made for, and each node with the one that asked for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from kdbench.interruption import heed_lost
from kdbench.plugin.before import Before, take
from kdbench.running.isolated.state import possible

ACCELERATORS = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/dxg", "/dev/accel")
"""Beginnings of the files by which a process speaks to an accelerator."""
STDIO = 3
"""Standard input, output and error of whoever asks for a node are the node's."""


class Server:
    """That of this process."""

    control: ClassVar[socket.socket | None] = None
    """Connections go there, each for one node; None: there is no server yet."""
    lifeline: ClassVar[int] = -1
    """Its other end closes with this process."""
    process: ClassVar[subprocess.Popen[bytes] | None] = None
    """Where it was started anew: it is not waited for."""


def prepare() -> None:
    """Have a server forked from this process as soon as plugins of third parties are imported: for a command that
    trains or measures, whose process nobody else uses. Not where no node is made."""
    if possible():
        Before.action = _fork


def connect() -> socket.socket:
    """A connection to a new process for one node."""
    if Server.control is None:
        _spawn()
    assert Server.control is not None
    ours, theirs = socket.socketpair()
    with theirs, open(os.devnull, "r+b") as nothing:
        stdio = [number if _is_open(number) else nothing.fileno() for number in range(STDIO)]
        socket.send_fds(Server.control, [b"n"], [theirs.fileno(), *stdio])
    return ours


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _ends() -> tuple[socket.socket, socket.socket, int, int]:
    return *socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM), *os.pipe()


def _fork() -> None:
    if not bears_fork():
        return
    _warm()
    asked, control, lifeline, life = _ends()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, which counts numpy's threads
        child = os.fork()
    if child == 0:
        os.close(life)
        os.setsid()
        _serve(asked, control, lifeline)
    asked.close()
    os.close(lifeline)
    Server.control, Server.lifeline = control, life


def bears_fork() -> bool:
    """Whether a fork of this process computes as it would. Libraries of other systems don't bear it, nor do Python's
    threads (numpy makes its own anew), nor drivers of accelerators that were asked for anything."""
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        return False
    held = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return not any(name.startswith(ACCELERATORS) for name in held)


def _spawn() -> None:
    """Start it as it would have been started before this process imported any plugin."""
    start = Before.start or take()
    asked, control, lifeline, life = _ends()
    path = os.pathsep.join(filter(None, start.path))
    given = [asked.fileno(), control.fileno(), lifeline]
    command = [sys.executable, "-c", f"from {__name__} import main; main()", path, *map(str, given)]
    Server.process = subprocess.Popen(
        command, env={**start.environment, "PYTHONPATH": path}, pass_fds=given, start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    asked.close()
    os.close(lifeline)
    Server.control, Server.lifeline = control, life


def main() -> NoReturn:
    """``PATH ASKED CONTROL LIFELINE``: Python's search path, and numbers of open files."""
    path, *numbers = sys.argv[1:]
    asked, control, lifeline = map(int, numbers)
    sys.path[:] = path.split(os.pathsep)
    from kdbench.plugin.loader import CHOSEN, NONE, load_plugins

    os.environ[CHOSEN] = NONE
    _warm()
    load_plugins()
    _serve(socket.socket(fileno=asked), socket.socket(fileno=control), lifeline)


def _warm() -> None:
    """Import and look up once what every node needs. Nothing is computed: that would start threads."""
    import kdbench.running.runner  # noqa: F401
    from kdbench.running import package, provenance

    provenance.commit()
    provenance.distributions()
    package.package_sha256()


def _serve(asked: socket.socket, control: socket.socket, lifeline: int) -> NoReturn:
    """Fork a process for each connection, and say on it how that process ended."""
    import torch._dynamo  # noqa: F401 (the first optimizer of a process imports it, for a second or two)

    Server.control = control
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([asked.fileno(), lifeline, woken], [], [])[0]
        if lifeline in ready:
            os._exit(0)
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _reap(running)
        if asked.fileno() in ready:
            _, given, _, _ = socket.recv_fds(asked, 16, 1 + STDIO)
            connection, *stdio = given
            child = os.fork()
            if child == 0:
                for own in (asked, *running.values()):
                    own.close()
                for number in (woken, wake, lifeline):
                    os.close(number)
                _node(socket.socket(fileno=connection), stdio)
            for number in stdio:
                os.close(number)
            running[child] = socket.socket(fileno=connection)


def _reap(running: dict[int, socket.socket]) -> None:
    from kdbench.running.isolated.messages import send

    while running:
        child, status, used = os.wait4(-1, os.WNOHANG)
        if child == 0:
            return
        ended: dict[str, Any] = {
            "status": os.waitstatus_to_exitcode(status),
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "memory_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        with running.pop(child) as connection, contextlib.suppress(OSError):
            send(connection, {"ended": ended})


def _node(connection: socket.socket, stdio: list[int]) -> NoReturn:
    """The rest of this process's life."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        heed_lost()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it holds is let go: another goes on at once
        for place, number in enumerate(stdio):
            os.dup2(number, place)
            os.close(number)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # what is printed is seen, however this process ends
        from kdbench.running.isolated.node import main as do

        status = do(connection)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)
