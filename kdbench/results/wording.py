"""How a score is called and written, wherever it is shown: terminal, page, report, pull request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.results.record import Check, Score

PIXELS = ("eps", "radii", "reach", "step_size", "step_sizes")
"""Names of a setting that are distances in [0, 1] pixels."""


def radius(value: float) -> str:
    """A distance in [0, 1] pixels as the field writes it: "2/255" or ".031".

    >>> radius(0.00784313725490196), radius(0.031), radius(0.0)
    ('2/255', '.031', '0')
    """
    levels = round(255 * value)
    whole = levels and math.isclose(255 * value, levels, abs_tol=1e-4)
    return f"{levels}/255" if whole else f"{value:.3g}".removeprefix("0") or "0"


def words(value: Any, name: str = "") -> str:
    """A value of a setting, a suite or a declaration, as a reader writes it; ``name`` is the setting's.

    Of a mapping each value stands behind its name; what is inside it has brackets.

    >>> words({"variant": "pgd-std", "steps": (10, 20), "eps": 0.00784313725490196, "subset": None})
    'variant pgd-std, steps [10, 20], eps 2/255, subset none'
    >>> words((10, 15)), words(0.031, "eps"), words(())
    ('10, 15', '.031', 'none')
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inside(inner, name if name in PIXELS else key)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_inside(item, name) for item in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return radius(value) if name in PIXELS and 0 <= value <= 1 else f"{value:.6g}"
    return str(value)


def _inside(value: Any, name: str) -> str:
    if not isinstance(value, Mapping | list | tuple):
        return words(value, name)
    left, right = "()" if isinstance(value, Mapping) else "[]"
    return f"{left}{words(value, name)}{right}" if value else "none"


def describe_setting(setting: Mapping[str, Any]) -> str:
    """The values, numbers with their names.

    >>> describe_setting({"variant": "pgd-std", "steps": 20, "rule": "worst"})
    'pgd-std steps 20 worst'
    """
    return " ".join(value if isinstance(value, str) else words({key: value}) for key, value in setting.items())


def shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all settings have alike.

    >>> shared([{"eps": 0.031, "steps": 10}, {"eps": 0.031, "steps": 20}])
    {'eps': 0.031}
    """
    first, *others = settings or [{}]
    return {key: value for key, value in first.items() if all(key in one and one[key] == value for one in others)}


def name(score: Score, known: Mapping[str, Any] | None = None) -> str:
    """``task/metric setting``, and which way is good where that is not up; without what is ``known`` of the setting."""
    direction = "" if score.higher_is_better else "(lower is better)"
    setting = {key: value for key, value in score.setting.items() if key not in (known or {})}
    return " ".join(filter(None, (f"{score.task}/{score.metric}", describe_setting(setting), direction)))


def counted(number: int, one: str) -> str:
    """A number of things.

    >>> counted(1, "record"), counted(2000, "record"), counted(0, "record")
    ('1 record', '2,000 records', '0 records')
    """
    return f"{number:,} {one}{'s' * (number != 1)}"


def percent(score: Score) -> tuple[str, str]:
    """A score and its interval, as text; fractions in percent."""
    if score.unit == "fraction":
        return f"{100 * score.value:.2f} %", f"{100 * score.ci_low:.2f} - {100 * score.ci_high:.2f}"
    return f"{score.value:.4g} {score.unit}", f"{score.ci_low:.4g} - {score.ci_high:.4g}"


FLAG = "[!]"
"""Stands beside a score that a failed check makes doubtful."""


def flagged(score: Score, checks: Iterable[Check], known: Mapping[str, Any] | None = None) -> str:
    """A score's name, with the sign of a flagged one."""
    written = name(score, known)
    return f"{written} {FLAG}" if any(check.concerns(score) for check in checks) else written


def failed_checks(checks: Iterable[Check]) -> list[str]:
    """One line for each check that failed: what is doubtful, what was found, and what that means."""
    lines = []
    for check in checks:
        if not check.passed:
            what = " ".join(filter(None, (check.condition, check.task, check.name, describe_setting(check.setting))))
            lines.append(f"{FLAG} {what}: {check.value:.4g} found, at most {check.limit:.4g} expected, n = {check.n}: "
                         f"{check.meaning}")  # fmt: skip
    return lines
