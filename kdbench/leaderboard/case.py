"""A record with its evidence, as the rules of validation look at it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from kdbench.plugin.loader import Plugins
from kdbench.results.record import Record
from kdbench.results.untrusted import Where
from kdbench.tasks import Task

Finding = tuple[Where, str, Literal["error", "warning"]]
"""The place of what is wrong, in words what, and how bad that is."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A record with its evidence."""

    record: Record
    plugins: Plugins
    predictions: Mapping[str, NDArray[Any]] | None
    log: list[dict[str, Any]] | None
    _tasks: dict[str, tuple[Task, Any] | None] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """What ``task`` found, as each score asks for it."""

    def task(self, name: str) -> tuple[Task, Any] | None:
        """A task and its settings, where it is installed in the version that the record has.

        Raises:
            KdbenchError: settings of the suite that it refuses.
        """
        if name not in self._tasks:
            task, version = self.plugins.tasks.find(name), self.record.spec.tasks.get(name)
            same = task is not None and task.version == version
            self._tasks[name] = (task, task.settings_in(self.record.spec.suite)) if task is not None and same else None
        return self._tasks[name]

    def results(self, condition: str) -> dict[str, NDArray[Any]]:
        """Per-example results of one student, ``<task>/<name>`` to an array."""
        prefix, arrays = f"{condition}/", self.predictions or {}
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
