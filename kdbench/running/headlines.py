"""Which score stands for a task, remembered: only the task itself knows, and to ask it loads torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kdbench import memo
from kdbench.results.headline import Headline, HeadlineOf, headline_of
from kdbench.specs import Suite

if TYPE_CHECKING:
    from kdbench.plugin.catalogue import Catalogue
    from kdbench.results.record import Record

KIND: Final = "headlines"
MOST: Final = 256
"""Suites that are kept, at some 2 kB each."""


def remembered(records: Iterable[Record], installed: Catalogue) -> HeadlineOf:
    """``headline_of`` for the tasks of some records: what is known of this installation, and of a suite that it is not,
    what the tasks say, for which they are loaded; that is kept.
    """
    suites: dict[str, tuple[Suite, set[str]]] = {}
    for record in records:
        digest = memo.digest(record.spec.suite.model_dump(mode="json"))
        suites.setdefault(digest, (record.spec.suite, set()))[1].update(score.task for score in record.scores)
    found = {digest: _of(digest, suite, tasks, installed) for digest, (suite, tasks) in suites.items()}

    def headline(suite: Suite, task: str) -> Headline | None:
        values = found[memo.digest(suite.model_dump(mode="json"))][task]
        return None if values is None else Headline.of_dict(values)

    return headline


def _of(digest: str, suite: Suite, tasks: set[str], installed: Catalogue) -> Mapping[str, dict[str, Any] | None]:
    """Task to its headline as a JSON value."""
    key = [installed.situation, installed.installation, digest]
    known: dict[str, dict[str, Any] | None] = (memo.recall(KIND, key) if installed.installation else None) or {}
    missing = sorted(tasks - known.keys())
    if missing:
        said = {task: headline_of(suite, task) for task in missing}
        known |= {task: None if one is None else one.to_dict() for task, one in said.items()}
        if installed.installation:
            memo.keep(KIND, key, known, MOST)
    return known
