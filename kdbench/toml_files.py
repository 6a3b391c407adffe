"""TOML files, which anybody may have written: small and shallow, or refused in one line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from kdbench.bounds import DEPTH, check_values
from kdbench.errors import KdbenchError, plain

LIMIT: Final = 2**20
"""Bytes of a file; ours have some thousand."""

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEPTH}}}")
"""A key of more dots than tables may be deep: the time that ``tomllib`` takes grows with their square."""


def read_toml(path: Path, what: str, *, hint: str = "name a .toml file") -> dict[str, Any]:
    """The tables of a TOML file; errors call it ``what`` and, where it can't be read, end with ``hint``.

    Raises:
        KdbenchError: no such file, no TOML, or one that is too large or too deep to be meant.
    """
    try:
        if path.exists() and not path.is_file():
            raise KdbenchError(f"{what} is no file", hint)
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise KdbenchError(f"cannot read {what}: {getattr(error, 'strerror', None) or error}", hint) from None
    if len(content) > LIMIT:
        raise KdbenchError(f"{what} is larger than {LIMIT // 2**20} MiB", "is it the right file?")
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        if _DEEP_KEY.search(text):
            raise ValueError(f"a key has more than {DEPTH} parts")
        values = tomllib.loads(text)
        check_values(values)
    except RecursionError:
        raise KdbenchError(f"{what} is nested too deeply", "ours are six deep") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KdbenchError(f"{what} is not TOML: {plain(error)}", "fix the line it names") from None
    except (ValueError, OverflowError) as error:  # our bounds; a whole number of thousands of digits, year 0
        raise KdbenchError(f"{what} cannot be meant: {plain(error)}", "is it the right file?") from None
    return values
