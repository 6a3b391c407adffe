"""The command line in a process of its own, forked from one that has imported what is heavy.

A command that starts from nothing takes seconds of imports, which is most of the time of hundreds of tests. Tests of
starting itself (what is imported, what is kept of it, how threads wait) take ``started_anew``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "kdbench.cli.run", "kdbench.cli.evaluate", "kdbench.running.runner", "kdbench.running.evaluation",
    "kdbench.testing", "pytest",
    "torch._dynamo",  # the first optimizer of a process imports it, for a second or two
)  # fmt: skip
PLUGINS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["kdbench"].values()

CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({place!r})
    with asked.makefile("rw") as file:
        print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]), file=file, flush=True)
        said, complained, status = json.load(file)
sys.stdout.write(said)
sys.stderr.write(complained)
sys.exit(status)
"""


def kdbench(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What ``kdbench ARGUMENTS`` writes and ends with, in the working directory and environment of the test."""
    return forked("kdbench", *arguments, **environment)


def forked(program: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same of a program of Python's: ``kdbench`` or ``pytest``."""
    return _forked([program, *map(str, arguments)], {**os.environ, **environment}, os.getcwd())


@contextlib.contextmanager
def typed(folder: Path) -> Iterator[None]:
    """``folder/kdbench``, which a shell can be given, does what ``kdbench`` does."""
    program = folder / "kdbench"
    with tempfile.TemporaryDirectory() as place, socket.create_server(f"{place}/s", family=socket.AF_UNIX) as listening:
        program.write_text(f"#!{sys.executable} -IS\n{CLIENT.format(place=f'{place}/s')}")
        program.chmod(0o755)
        answering = threading.Thread(target=_answer, args=(listening,), daemon=True)
        answering.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
        answering.join()


def _answer(listening: socket.socket) -> None:
    while True:
        try:
            connection = listening.accept()[0]
        except OSError:
            return
        with connection, connection.makefile("rw") as file:
            arguments, environment, folder = json.loads(file.readline())
            done = _forked(["kdbench", *arguments], environment, folder)
            json.dump([done.stdout, done.stderr, done.returncode], file)


def _forked(command: list[str], environment: Mapping[str, str], where: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = _server().Process(target=_run, args=(command, {**environment}, where, files))
        process.start()
        process.join()
        said, complained = (file.read_text() for file in files)
    status = process.exitcode
    process.close()
    assert status is not None
    return subprocess.CompletedProcess(command, status, said, complained)


def started_anew(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same of a Python that has imported nothing yet."""
    return subprocess.run([sys.executable, "-m", "kdbench", *map(str, arguments)], capture_output=True, text=True)


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED, *PLUGINS])
    return context


def _run(command: list[str], environment: Mapping[str, str], folder: str, files: list[Path]) -> None:
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout, sys.stderr = (open(descriptor, "w", closefd=False) for descriptor in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one and one not in sys.path]
    sys.argv = command
    if command[0] == "pytest":
        import pytest

        sys.exit(pytest.main(command[1:]))
    from kdbench.cli import main

    main()
