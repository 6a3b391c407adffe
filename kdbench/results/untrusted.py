"""Reading untrusted files: strict JSON with the line of every value, arrays without pickles, sizes that fit."""

from __future__ import annotations

import bisect
import json
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kdbench.bounds import WHOLE, check_values
from kdbench.errors import KdbenchError, named
from kdbench.errors import plain as plain  # most readers of foreign files show what they found

if TYPE_CHECKING:  # a finished run is answered without NumPy
    from numpy.typing import NDArray

Where = tuple[str | int, ...]
"""Names and positions that lead to a value of a JSON text."""

RECORD_LIMIT: Final = 4 * 2**20
"""Bytes of a record; a real one has some hundred thousand."""
EVIDENCE_LIMIT: Final = 256 * 2**20
"""Bytes of a file beside a record, and of its arrays once they are unpacked."""

LOG_LIMIT: Final = 16 * 2**20
"""Bytes of a training log."""
MOST_ARRAYS: Final = 20_000
"""Arrays of a file; those of a student are some hundred and fifty."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


class Unreadable(KdbenchError):
    """A file that is not what it should be, and the line where that shows."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read_bytes(path: Path, limit: int) -> bytes:
    """A whole file that is no larger than ``limit``; a pipe or a device, which may never end, is none."""
    try:
        if path.exists() and not path.is_file():
            raise Unreadable("is no file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > limit:
        raise Unreadable(f"is larger than {limit // 2**20} MiB")
    return content


def read_json(path: Path, limit: int = RECORD_LIMIT) -> tuple[Any, str]:
    """A JSON file's value and text: UTF-8, no name twice in one object, no NaN, no infinity."""
    content = read_bytes(path, limit)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8: {error.reason}", content[: error.start].count(b"\n") + 1) from None
    return parse(text), text


def parse(text: str) -> Any:
    """The value of a JSON text, as ``read_json``."""
    try:
        hooks: dict[str, Any] = {"parse_constant": _no_constant, "parse_float": _finite, "parse_int": _whole}
        value = json.loads(text, object_pairs_hook=_once, **hooks)
        check_values(value, most=len(text))
        return value
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except _Twice as error:
        line = second_line(text)
        raise Unreadable(f"has the name {plain(repr(error.name), 80)} twice in one object", line) from None
    except ValueError as error:  # a number of thousands of digits, NaN, deep nesting
        raise Unreadable(f"is not strict JSON: {plain(error)}") from None


class _Twice(ValueError):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > WHOLE:
        raise ValueError(f"a whole number is beyond 2^64: {plain(text, 40)}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def lines(text: str) -> dict[Where, int]:
    """The line, from 1, on which each value of a JSON text begins, a member with its name.

    >>> lines('{"a":\\n [1,\\n 2]}')
    {(): 1, ('a',): 1, ('a', 0): 2, ('a', 1): 3}
    """
    return _scan(text)[0]


def second_line(text: str) -> int | None:
    """The line of the first name that occurs for the second time in its object."""
    return _scan(text)[1]


def _scan(text: str) -> tuple[dict[Where, int], int | None]:
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    found: dict[Where, int] = {(): 1}
    twice: int | None = None
    stack: list[tuple[bool, str | int | None]] = []  # is it an object, and the name or position within
    for match in _TOKEN.finditer(text):
        token, line = match.group(), bisect.bisect_right(starts, match.start())
        if token in ("}", "]"):
            stack.pop()
        elif token == ",":
            is_object, key = stack[-1]
            stack[-1] = (is_object, None if is_object else int(key or 0) + 1)
        elif token != ":":
            is_name = bool(stack) and stack[-1] == (True, None)
            if is_name:
                stack[-1] = (True, json.loads(token) if "\\" in token else token[1:-1])
            where = tuple(key for _, key in stack if key is not None)
            if is_name and where in found and twice is None:
                twice = line
            found.setdefault(where, line)
            if token in ("{", "["):
                stack.append((token == "{", None if token == "{" else 0))
    return found, twice


def line_of(found: Mapping[Where, int], where: Where) -> int | None:
    """The line of a value, or of the nearest one around it that is there."""
    return found.get(nearest(found, where))


def nearest(found: Mapping[Where, int], where: Where) -> Where:
    """The value, or the nearest one around it that is there."""
    while where and where not in found:
        where = where[:-1]
    return where


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, which may hold numbers and truth values and nothing that is run."""
    import numpy as np

    if path.stat().st_size > EVIDENCE_LIMIT:
        raise Unreadable(f"is larger than {EVIDENCE_LIMIT // 2**20} MiB")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_ARRAYS or len({member.filename for member in members}) != len(members):
                raise Unreadable(f"holds more than {MOST_ARRAYS:,} arrays, or two of one name")
            if sum(member.file_size for member in members) > EVIDENCE_LIMIT:
                raise Unreadable(f"unpacks to more than {EVIDENCE_LIMIT // 2**20} MiB")
            for member in members:
                _check_header(archive, member)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Unreadable:
        raise
    except Exception as error:  # whatever a damaged archive makes the reader stumble over
        raise Unreadable(f"holds no arrays: {plain(named(error))}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise Unreadable(f"holds {plain(name)}, which is no array of numbers")
    return arrays


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """The array that a member says it is must be the bytes that it has: NumPy makes room for it before it looks."""
    import numpy as np

    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise Unreadable(f"holds no arrays: {plain(member.filename)} has fewer bytes than its shape {shape} needs")


def show_path(where: Where) -> str:
    """As it is written in most languages.

    >>> show_path(("scores", 3, "value"))
    'scores[3].value'
    """
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{plain(part, 60)}" for part in where)
    return parts.removeprefix(".")
