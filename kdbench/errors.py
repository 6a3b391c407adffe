"""The one exception that means: the user can fix this."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 4000
"""Characters of a message; what a file says is quoted in it, and a file may say a lot."""


class KdbenchError(Exception):
    """A mistake in what was asked for, reported in one line with a hint that says what to do.

    The command line prints it without a traceback and exits with status 2; any other exception is a bug. A message
    beyond ``LONGEST`` ends in dots.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        message = message if len(message) <= LONGEST else f"{message[: LONGEST - 3]}..."
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def first_line(error: BaseException) -> str:
    """What another library's error says, in a line of at most ``LONGEST`` characters: its class where it says nothing.

    >>> first_line(ValueError("no such file")), first_line(IndexError()), first_line(ValueError("\\n"))
    ('no such file', 'IndexError', 'ValueError')
    """
    return next((line for line in str(error)[:LONGEST].splitlines() if line.strip()), type(error).__name__)


def named(error: BaseException) -> str:
    """The same with its class.

    >>> named(ValueError("no such file"))
    'ValueError: no such file'
    """
    return f"{type(error).__name__}: {first_line(error)}"


def raised_at(error: BaseException) -> str:
    """The file and line of the code that raised it."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def plain(text: object, limit: int = 200) -> str:
    """Untrusted text for a terminal or a report: what is not printable is escaped, and it ends.

    >>> plain("a\\x1b[2J\\u202eb")
    'a\\\\x1b[2J\\\\u202eb'
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> KdbenchError:
    """The error for a name that nobody registered, with the nearest right one."""
    names, name = sorted(known), plain(name)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        advice = f"did you mean '{near[0]}'? "
    elif names:
        advice = f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}. "
    else:
        advice = ""
    return KdbenchError(f"no {kind} named '{name}'", (advice + hint).strip())
