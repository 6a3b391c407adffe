"""What the command line says on standard error, one line each; and what others print, which goes there too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

WARNED: list[str] = []
"""Warnings that were shown, in their order."""


def complain(*text: str) -> None:
    """Print words in one line, whatever breaks they have."""
    print(" ".join("".join(text).split()), file=sys.stderr)


def show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """``warnings.showwarning``: what is meant for users, in one line."""
    if issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        return
    WARNED.append(str(message))
    complain(f"warning: {message}")


@contextlib.contextmanager
def others_on_stderr() -> Iterator[None]:
    """What methods, models and libraries print in the block goes to standard error, whether by Python or not: standard
    output is for the answer alone."""
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a closed standard output
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield
