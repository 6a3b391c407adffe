"""Which of many scores stand for a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdbench.results.record import Score

HEADLINE = 6
"""A task with more scores than this shows those that its rules below pick."""


def headline(scores: Sequence[Score]) -> list[Score]:
    """The scores to show of one task and condition: all of them, or, of many, the metrics that have few scores."""
    if len(scores) <= HEADLINE:
        return list(scores)
    counts: dict[tuple[str, Any], int] = {}
    for score in scores:
        key = (score.metric, score.setting.get("rule"))
        counts[key] = counts.get(key, 0) + 1
    worst = [score for score in scores if score.setting.get("rule") == "worst"]
    if worst:
        return [score for score in worst if score.metric == worst[0].metric]
    few = [score for score in scores if counts[score.metric, score.setting.get("rule")] <= HEADLINE]
    return few or list(scores)
