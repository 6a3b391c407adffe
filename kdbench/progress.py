"""How long work stands: a bar on a terminal and in a notebook; elsewhere, as in a job's log, a line each minute."""

from __future__ import annotations

import contextlib
import html
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

PERIOD: Final = 60.0
"""Seconds between two lines, and before the first."""
REDRAWN: Final = 0.25
"""Least seconds between two looks of a notebook's bar."""


class Update(Protocol):
    """Called with the share done in [0, 1] and a few words on how it stands."""

    def __call__(self, share: float, note: str = "") -> None: ...


def _silent(share: float, note: str = "") -> None:
    """Where nobody looks."""


@contextlib.contextmanager
def bar(label: str, *, shown: bool) -> Iterator[Update]:
    """A bar for one piece of long work, or its lines where neither a terminal nor a notebook is.

    Nothing where ``shown`` is false.
    """
    console = Console(stderr=True)
    if not shown:
        yield _silent
    elif is_drawn(console):
        with _drawn(label, console) as update:
            yield update
    elif console.is_jupyter:
        with _in_notebook(Piece(label, time.monotonic())) as update:
            yield update
    else:
        with _LINES.of(Piece(label, time.monotonic())) as update:
            yield update


def is_drawn(console: Console) -> bool:
    """Whether a changing line can be shown: on a terminal, not in a pipe that ``FORCE_COLOR`` makes look like one."""
    return console.is_terminal and console.file.isatty()


@contextlib.contextmanager
def _drawn(label: str, console: Console) -> Iterator[Update]:
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


@contextlib.contextmanager
def _in_notebook(piece: Piece) -> Iterator[Update]:
    """One output that changes, and stays in the saved notebook as its last line; rich's own bar needs ipywidgets."""
    display: Any = importlib.import_module("IPython.display").display  # its package is not a dependency, nor typed

    def look(line: str, share: float | None = None) -> dict[str, str]:
        drawn = "" if share is None else f'<progress max="1" value="{share:.3f}"></progress> '
        return {"text/plain": line, "text/html": f"{drawn}<code>{html.escape(line)}</code>"}

    drawn_at = time.monotonic()
    handle = display(look(piece.line(drawn_at), 0.0), raw=True, display_id=True)

    def update(share: float, note: str = "") -> None:
        nonlocal drawn_at
        now = time.monotonic()
        piece.advance(now, share, note)
        if now - drawn_at >= REDRAWN:
            drawn_at = now
            handle.update(look(piece.line(now), share), raw=True)

    try:
        yield update
    finally:
        handle.update(look(piece.ended(time.monotonic())), raw=True)


class Piece:
    """One piece of work and how far it is; times are seconds of one clock."""

    def __init__(self, label: str, began: float) -> None:
        self._label, self._began = label, began
        self._first: tuple[float, float] | None = None
        self._last, self._note = (began, 0.0), ""

    def advance(self, now: float, share: float, note: str) -> None:
        """It has come to a share in [0, 1]."""
        self._last, self._note = (now, share), note
        self._first = self._first or self._last

    def line(self, now: float) -> str:
        """How it stands: what it is, its note, how long it has lasted, and how much longer it takes where that shows.
        An empty line is not written.

        The first share does not show it: what was resumed begins with more than nothing.
        """
        (first, from_share), (last, share) = self._first or self._last, self._last
        parts = [f"{self._label}: {100 * share:.0f} %" if share > 0 else self._label, self._note]
        parts.append(f"{in_words(now - self._began)} so far")
        if share > from_share:
            left = (1 - share) * (last - first) / (share - from_share) - (now - last)
            parts.append(f"about {in_words(max(0.0, left))} left")
        return ", ".join(filter(None, parts))

    def ended(self, now: float) -> str:
        """That it is over."""
        return f"{self._label}: over after {in_words(now - self._began)}"


class Lines:
    """Says how the innermost piece of work stands, each ``PERIOD`` of a process, from a thread beside the work: a piece
    may be at its first step for an hour. What is over within that time is not mentioned."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._pieces: list[Piece] = []
        self._mentioned: set[Piece] = set()
        self._said: float | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextlib.contextmanager
    def of(self, piece: Piece) -> Iterator[Update]:
        """While the block lasts there are lines of this piece."""
        with self._lock:
            self._pieces.append(piece)
            self._said = self._clock() if self._said is None else self._said
            if len(self._pieces) == 1:
                self._over = threading.Event()
                threading.Thread(target=self._follow, args=(self._over,), daemon=True, name="kdbench-progress").start()

        def update(share: float, note: str = "") -> None:
            with self._lock:
                piece.advance(self._clock(), share, note)

        try:
            yield update
        finally:
            with self._lock:
                self._pieces.remove(piece)
                if not self._pieces:
                    self._over.set()
                if piece in self._mentioned:
                    self._mentioned.remove(piece)
                    self._write(piece.ended(self._clock()))

    def tick(self) -> float:
        """Write the line that is due, if one is; seconds until the next one."""
        with self._lock:
            now = self._clock()
            if self._pieces and self._said is not None and now - self._said >= PERIOD:
                self._said = now
                if line := self._pieces[-1].line(now):
                    self._mentioned.add(self._pieces[-1])
                    self._write(line)
            return PERIOD if self._said is None else PERIOD - (now - self._said)

    def _follow(self, over: threading.Event) -> None:
        while not over.wait(self.tick()):
            pass


def _to_log(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a full disk or a closed log is no reason to lose the work
        print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


_LINES = Lines(_to_log)


def lines(piece: Piece) -> contextlib.AbstractContextManager[Update]:
    """A line each minute on how a piece stands, on standard error, while the block lasts."""
    return _LINES.of(piece)


def in_words(seconds: float) -> str:
    """A duration for people.

    >>> [in_words(seconds) for seconds in (41, 3000, 9000)]
    ['41 s', '50 min', '2.5 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def tracked(results: Iterable[T], label: str, total: int, *, shown: bool) -> Iterator[T]:
    """The same results one after another, with a :func:`bar` over their number."""
    with bar(label, shown=shown) as update:
        for number, one in enumerate(results, 1):
            update(number / total)
            yield one


def say(lines: Iterable[str]) -> None:
    """Lines that nobody should miss, by way of logger "kdbench": on standard error unless somebody turns that off."""
    for line in lines:
        logging.getLogger("kdbench").warning(line)
