"""How a score is called and written, wherever it is shown: terminal, page, report, pull request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.results.record import Check, Score


def describe_setting(setting: Mapping[str, Any]) -> str:
    """The values, numbers with their names.

    >>> describe_setting({"variant": "pgd-std", "steps": 20, "rule": "worst"})
    'pgd-std steps 20 worst'
    """
    return " ".join(value if isinstance(value, str) else f"{key} {value}" for key, value in setting.items())


def shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all settings have alike.

    >>> shared([{"eps": 0.031, "steps": 10}, {"eps": 0.031, "steps": 20}])
    {'eps': 0.031}
    """
    first, *others = settings or [{}]
    return {key: value for key, value in first.items() if all(key in one and one[key] == value for one in others)}


def name(score: Score) -> str:
    """``task/metric setting``, and which way is good where that is not up."""
    direction = "" if score.higher_is_better else "(lower is better)"
    return " ".join(filter(None, (f"{score.task}/{score.metric}", describe_setting(score.setting), direction)))


def percent(score: Score) -> tuple[str, str]:
    """A score and its interval, as text; fractions in percent."""
    if score.unit == "fraction":
        return f"{100 * score.value:.2f} %", f"{100 * score.ci_low:.2f} - {100 * score.ci_high:.2f}"
    return f"{score.value:.4g} {score.unit}", f"{score.ci_low:.4g} - {score.ci_high:.4g}"


FLAG = "[!]"
"""Stands beside a score that a failed check makes doubtful."""


def flagged(score: Score, checks: Iterable[Check]) -> str:
    """A score's name, with the sign of a flagged one."""
    return f"{name(score)} {FLAG}" if any(check.concerns(score) for check in checks) else name(score)


def failed_checks(checks: Iterable[Check]) -> list[str]:
    """One line for each check that failed: what is doubtful, what was found, and what that means."""
    lines = []
    for check in checks:
        if not check.passed:
            what = " ".join(filter(None, (check.condition, check.task, check.name, describe_setting(check.setting))))
            lines.append(f"{FLAG} {what}: {check.value:.4g} found, at most {check.limit:.4g} expected, n = {check.n}: "
                         f"{check.meaning}")  # fmt: skip
    return lines
