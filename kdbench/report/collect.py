"""What each run has under each of its conditions, and the reasons where it has nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from kdbench.errors import KdbenchError
from kdbench.report.runs import Run

T = TypeVar("T")


def conditions_of(runs: Sequence[Run]) -> list[str]:
    """Every condition of any of the runs."""
    return list(dict.fromkeys(condition for run in runs for condition in run.conditions))


def collect(
    runs: Sequence[Run], get: Callable[[Run, str], T], conditions: Sequence[str] | None = None
) -> tuple[dict[str, dict[Run, T]], list[str]]:
    """Condition to run to what ``get`` returns of it, and the message of each ``KdbenchError`` that it raises.

    ``get`` is called with a run and one of its conditions; a run is not asked for the conditions of others.
    ``conditions``: default all. A condition under which no run has anything is left out.
    """
    found: dict[str, dict[Run, T]] = {}
    reasons = []
    for condition in conditions_of(runs) if conditions is None else conditions:
        for run in runs:
            if condition not in run.conditions:
                continue
            try:
                value = get(run, condition)
            except KdbenchError as error:
                reasons.append(error.message)
            else:
                found.setdefault(condition, {})[run] = value
    return found, reasons
