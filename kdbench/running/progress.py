"""Progress bars on standard error: shown on a terminal, silent elsewhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Update(Protocol):
    """Called with the share done in [0, 1] and a few words on how it stands."""

    def __call__(self, share: float, note: str = "") -> None: ...


def _silent(share: float, note: str = "") -> None:
    """Where nobody looks."""


@contextlib.contextmanager
def bar(label: str, *, shown: bool) -> Iterator[Update]:
    """A bar for one piece of long work; nothing at all where ``shown`` is false or there is no terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield _silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=1.0, note="")

        def update(share: float, note: str = "") -> None:
            progress.update(task, completed=share, note=note)

        yield update
        progress.update(task, completed=1.0)


def say(lines: Iterable[str]) -> None:
    """Lines that nobody should miss, by way of logger "kdbench": on standard error unless somebody turns that off."""
    for line in lines:
        logging.getLogger("kdbench").warning(line)
