"""The one exception that means: the user can fix this."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KdbenchError(Exception):
    """A mistake in what was asked for, reported in one line with a hint that says what to do.

    The command line prints it without a traceback and exits with status 2; any other exception is a bug.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def first_line(error: BaseException) -> str:
    """What another library's error says, in a line: its class where it says nothing.

    >>> first_line(ValueError("no such file")), first_line(IndexError())
    ('no such file', 'IndexError')
    """
    return (str(error) or type(error).__name__).splitlines()[0]


def named(error: BaseException) -> str:
    """The same with its class.

    >>> named(ValueError("no such file"))
    'ValueError: no such file'
    """
    return f"{type(error).__name__}: {first_line(error)}"


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> KdbenchError:
    """The error for a name that nobody registered, with the nearest right one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        advice = f"did you mean '{near[0]}'? "
    elif names:
        advice = f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}. "
    else:
        advice = ""
    return KdbenchError(f"no {kind} named '{name}'", (advice + hint).strip())
