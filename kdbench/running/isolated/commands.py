"""A command that measures, in a process of its own: it is called there once more, with the same words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.results.record import read_record
from kdbench.running.isolated.client import NodeDiedError, ask
from kdbench.running.isolated.needed import distributions
from kdbench.running.isolated.state import Process, possible
from kdbench.running.observers import tell_observers


def command_apart(plugins: Plugins, names: Iterable[tuple[str, str]], again: str) -> int | None:
    """The exit status of a command that was done in a process which loads what it needs; None where this process is to
    do it: no plugin of a third party is loaded here, this is that process, or something comes from no distribution.

    Args:
        names: kinds of things that it needs, and their names. Where that raises ``KdbenchError``, so will the command.
        again: ``module:function`` that does the command by ``sys.argv`` and returns its status.

    Raises:
        KdbenchError: as the command does, and where its process dies.
    """
    if not plugins.others() or not possible() or Process.records is not None:
        return None
    found = []
    with contextlib.suppress(KdbenchError):
        for one in names:
            found.append(one)
    needed = distributions(plugins, found)
    if needed is None:
        return None
    try:
        done = ask({"kind": "command", "node": "", "again": again}, needed)
    except NodeDiedError as death:
        raise KdbenchError(
            f"nothing was measured: {death}", "see what it printed; the same command tries again"
        ) from None
    for path in map(Path, done["records"]):
        tell_observers(plugins, read_record(path), path)
    return int(done["status"])
