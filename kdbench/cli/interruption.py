"""How a command ends when it is told to: by Ctrl-C, or by SIGTERM, as schedulers and `kill` send it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import ClassVar, Final

BY_CTRL_C: Final = 130
BY_SIGTERM: Final = 143
"""Exit statuses, as shells have them: 128 and the signal's number."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever lets go of files and workers at Ctrl-C does so now."""

    came: ClassVar[bool] = False
    """Whether it came in this process: the parser makes one status of all interruptions."""


def end_by_sigterm() -> None:
    """From now on SIGTERM raises ``Terminated``, unless somebody else handles it, or has it ignored, already."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def last_words() -> tuple[str, int]:
    """What an interrupted command says, and its exit status."""
    how, status = (" by SIGTERM", BY_SIGTERM) if Terminated.came else ("", BY_CTRL_C)
    return f"interrupted{how}: run the same command again to go on from the last whole epoch", status


def _terminate(number: int, frame: FrameType | None) -> None:
    Terminated.came = True
    raise Terminated
