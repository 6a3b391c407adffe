"""A record without the columns that cannot stand in a table: measured by another version of a task, or on other images.
What else it has stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.untrusted import plain

Reason = tuple[Collection[str], str]
"""Tasks that are left out of a run, and why."""


def narrowed(runs: Sequence[Evidence], reason: Callable[[Evidence], Reason]) -> tuple[list[Evidence], list[Excluded]]:
    """Each run without the tasks that do not compare; excluded where it has no other."""
    kept: list[Evidence] = []
    excluded: list[Excluded] = []
    for run in runs:
        tasks, why = reason(run)
        if not run.record.spec.tasks.keys() & set(tasks):
            kept.append(run)
        elif run.record.spec.tasks.keys() <= set(tasks):
            excluded.append(exclude(run, why))
        else:
            kept.append(_without(run, tasks, why))
    return kept, excluded


def _without(run: Evidence, tasks: Collection[str], reason: str) -> Evidence:
    record, spec = run.record, run.record.spec
    left = {name: version for name, version in spec.tasks.items() if name not in tasks}
    gone = sorted(spec.tasks.keys() & set(tasks))
    return dataclasses.replace(
        run,
        record=record.model_copy(
            update={
                "spec": spec.model_copy(update={"tasks": left}),
                "scores": [score for score in record.scores if score.task not in tasks],
                "checks": [check for check in record.checks if not check.flags or set(check.flags) - set(tasks)],
            }
        ),
        remarks=(*run.remarks, f"{', '.join(map(plain, gone))} left out: {reason}"),
        left_out={**run.left_out, **dict.fromkeys(gone, reason)},
    )
