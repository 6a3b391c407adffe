"""The one score that stands for a task on a leaderboard."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Headline:
    """Which score of a task is a column of a leaderboard, and what is behind it."""

    title: str
    """Short heading: "clean", "PGD-20 ε .031", ..."""
    metric: str
    """Of the task's scores."""
    setting: Mapping[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    """Picks the one score of that metric."""
    noisy: bool = False
    """Whether students of noisy labels get a column of their own, or are left to other tasks."""
    results: str = ""
    """Pattern of the kept per-example results whose mean the score is ("*/correct"); "": what ``results_key`` says."""
    confidence: str = ""
    """Name of kept largest probabilities, for a score that is their expected calibration error in ``bins``."""
