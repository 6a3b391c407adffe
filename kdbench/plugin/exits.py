"""A plugin that ends the process while it is imported would end the command without a word."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import subprocess
from collections.abc import Iterator
from typing import NoReturn

TELLER = """
by=
while IFS= read -r line; do
    case $line in
    done) exit ;;
    'Fatal Python error: '*) by=", by signal '${line#*: }'" ;;
    esac
done
printf '%s\\n' "error: $1 ended the process while it was being imported$by ($2)" >&2
"""
"""Of the shell: it reads until its standard input says ``done``, or is closed because the process is gone."""
ADVICE = "--no-plugins leaves out those of third parties, KDBENCH_PLUGINS=NAME,... names the ones to load"


@contextlib.contextmanager
def exits_are_raised() -> Iterator[None]:
    """``os._exit`` raises ``SystemExit`` in the block, as ``sys.exit`` does; processes forked meanwhile end by it."""
    here, leave = os.getpid(), os._exit

    def told(status: int) -> NoReturn:
        if os.getpid() != here:
            leave(status)
        raise SystemExit(status)

    os._exit = told
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def deaths_are_said(plugin: str) -> Iterator[None]:
    """A process that ends in the block, by a signal or in compiled code, leaves one line on standard error that names
    ``plugin``.

    Nothing of a process runs after its death: another one, a shell, says it, and Python's fault handler tells that one
    the signal where it is one of a crash. Importing in a fork first would leave the plugin out instead, but each import
    would be done twice, and neither threads nor macOS bear a fork. Where there is no shell, nothing is said.

    It takes 9 ms a plugin in the median of 200 (four fifths of them: 1.5 to 20 ms), on 2 cores of an AMD EPYC with
    other work on them.
    """
    reading, writing = os.pipe()
    command, shell = ["/bin/sh", "-c", TELLER, "sh", plugin, ADVICE], None
    with contextlib.suppress(OSError):
        shell = subprocess.Popen(command, stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    handles = shell is not None and not faulthandler.is_enabled()  # where a user wants all of it, it stays
    if handles:
        faulthandler.enable(writing)
    try:
        yield
    finally:
        if handles:
            faulthandler.disable()
        with contextlib.suppress(OSError):  # of a shell that an interruption has ended, too
            os.write(writing, b"\ndone\n")
        os.close(writing)
        if shell is not None:
            shell.wait()
