"""A training's log: a JSON object an epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.sealed import check

LOG = "log.jsonl"


class LogError(ValueError):
    """What is wrong with a log, and in which line, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line} {message}")
        self.message, self.line = message, line


def log_bytes(entries: Iterable[Mapping[str, Any]]) -> bytes:
    """Entries as ``log.jsonl``. A loss that is not finite is NaN or Infinity, which strict JSON has not."""
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a folder's log, [] for a training that has not begun.

    Raises:
        LogError: it is no log.
        DamagedError: it is not the one that was written.
    """
    path = folder / LOG
    check(path)
    return parse_log(path.read_text(encoding="utf-8")) if path.exists() else []


def whole_epochs(folder: Path) -> int:
    """Epochs in a folder's log; 0 where there is none that can be read."""
    try:
        return len(read_log(folder))
    except (KdbenchError, LogError, OSError, ValueError):
        return 0


def parse_log(text: str) -> list[dict[str, Any]]:
    """The entries of a log. Raises ``LogError`` for a line that is no object."""
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise LogError("is not JSON", number) from None
        if not isinstance(entry, dict):
            raise LogError("is no object", number)
        entries.append(entry)
    return entries
