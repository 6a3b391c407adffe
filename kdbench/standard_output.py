"""Standard output is for answers: what code of others prints goes elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def others_on_stderr() -> Iterator[None]:
    """What plugins, models and libraries print in the block goes to standard error, whether by Python or not."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a closed standard output
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
            stack.callback(_flush_c)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _flush_c() -> None:
    """Write out what compiled code has printed: C keeps it until the process ends where standard output is a pipe."""
    with contextlib.suppress(Exception):  # where there is no such library, nothing of it is kept
        import ctypes

        ctypes.CDLL(None).fflush(None)
