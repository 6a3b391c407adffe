"""What the command line says on standard error, one line each."""

from __future__ import annotations

import sys

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
