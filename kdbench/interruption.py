"""An interruption that Python drops comes again.

A signal's handler runs between any two steps of the main thread. Where these are of an object's ``__del__`` or of a
weak reference's callback, of which each import has some, Python prints the ``KeyboardInterrupt`` and goes on.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any, Final

AGAIN_SECONDS: Final = 0.05


def heed_lost() -> None:
    """From now on such an interruption is raised again a moment later, unless somebody else handles what is dropped."""
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _hear


def _hear(dropped: Any) -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        again = threading.Timer(AGAIN_SECONDS, _interrupt)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(dropped)


def _interrupt() -> None:
    """By a signal, which wakes a main thread that waits."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM)
