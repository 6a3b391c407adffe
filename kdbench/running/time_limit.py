"""A limit for how long somebody's code may take."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from kdbench.errors import KdbenchError

AGAIN_SECONDS = 5.0
"""After which the limit is told once more to code that did not end by it."""


class TookTooLongError(BaseException):
    """The limit is reached. No ``Exception``: code that goes on after any of those would go on after this."""


def check_limit(minutes: float | None) -> None:
    """Raise ``KdbenchError`` for a limit that is none, or that can't be kept here."""
    if minutes is None:
        return
    if not 0 < minutes < float("inf"):
        raise KdbenchError(f"timeout is {minutes}", "give minutes above 0")
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise KdbenchError("a timeout needs a POSIX system and the process's main thread", "leave it out")


@contextlib.contextmanager
def time_limit(minutes: float | None) -> Iterator[None]:
    """Raise ``TookTooLongError`` in the block once it has lasted so long, between two steps of Python; None: never.

    In a block within another the time of the outer one stands still. An operation of torch that never returns is not
    ended by it.
    """
    if minutes is None:
        yield
        return

    def tell(number: int, frame: FrameType | None) -> None:
        raise TookTooLongError(f"it took longer than the {minutes:g} minutes that --timeout allows")

    before = signal.signal(signal.SIGALRM, tell)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 60 * minutes, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, AGAIN_SECONDS if left else 0)
