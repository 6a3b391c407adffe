"""What a method's page says in words: what is measured, and what it takes to get the same numbers again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from kdbench.leaderboard.board import Board, Row
from kdbench.results.headline import installed_task
from kdbench.results.machine import machine
from kdbench.results.record import Record
from kdbench.results.wording import words


def explain(board: Board, row: Row) -> list[dict[str, Any]]:
    """Of each axis that the row has: what its task says of itself, and the settings that were used."""
    found = []
    for axis in board.axes:
        cell = row.cells.get(axis.key)
        if cell is not None:
            settings = dict.fromkeys(words(score.setting) for _, score in cell.per_seed if score.setting)
            found.append({
                "title": axis.title, "metric": axis.metric.replace("_", " "), "condition": axis.condition,
                "what": task_words(axis.task), "settings": list(settings), "n": cell.n,
            })  # fmt: skip
    return found


def task_words(name: str) -> str:
    """The first paragraph of what a task says of itself, on one line; "" where it is not installed here."""
    task = installed_task(name)
    said = "" if task is None else inspect.getdoc(type(task)) or ""
    return " ".join(said.partition("\n\n")[0].replace("``", "").split())


def again(records: Sequence[Record], evaluated: bool) -> list[tuple[str, str]]:
    """What else than the command decides the numbers, by name: several values where records differ."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        spec = record.spec
        students = record.hashes.students.values()
        facts = {
            "data sets, under --data-dir": ", ".join(spec.datasets),
            "out-of-distribution set": ", ".join(name for name in spec.datasets if name in spec.suite.ood),
            "corrupted images": spec.corruption_images,
            "precision of training": "" if evaluated else ", ".join(sorted({one.precision for one in students})),
            **machine(record.provenance, students),
        }
        for name, value in facts.items():
            if value:
                found.setdefault(name, {})[value] = None
    return [(name, "; ".join(values)) for name, values in found.items()]
