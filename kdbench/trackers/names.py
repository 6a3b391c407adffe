"""What scores are called in a tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.results.headline import said_once
from kdbench.results.wording import describe_setting

if TYPE_CHECKING:
    from kdbench.results.record import Record, Score


def score_names(record: Record) -> dict[str, Score]:
    """``scores/<condition>/<task>/<metric> <setting>`` to each score; without what a task's scores have alike."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in record.scores:
        groups.setdefault((score.condition, score.task), []).append(score)
    names = {}
    for (condition, task), own in groups.items():
        known = said_once(own, record.spec.suite)
        for score in own:
            rest = describe_setting({name: value for name, value in score.setting.items() if name not in known})
            # A slash would open a group of its own.
            names[f"scores/{condition}/{task}/{score.metric} {rest.replace('/', '_')}".rstrip()] = score
    return names
