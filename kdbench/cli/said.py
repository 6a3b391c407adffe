"""What the command line says on standard error, one line each."""

from __future__ import annotations

import contextlib
import logging
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
def notes_once() -> Iterator[None]:
    """What is noted in the block of several runs alike is said of the first."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text.startswith("note: ") and text in said
        said.add(text)
        return not known

    logger = logging.getLogger("kdbench")
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
