"""What tasks measure, in families: columns of one often say the same, and count once in a leaderboard's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FAMILIES: Final[Mapping[str, str]] = {
    "natural": "on natural images",
    "adversarial": "under attack",
    "noisy labels": "after training on noisy labels",
    "calibration": "in calibration",
}
"""A family's name to how a sentence says where a method is good; in the order in which a leaderboard shows them."""
OTHER: Final = "other"
"""Of a task that names none."""


def family_order(name: str) -> tuple[int, str]:
    """Sorts families: those of ``FAMILIES`` first, then all others by name, ``OTHER`` last.

    >>> sorted(["other", "speed", "calibration", "natural"], key=family_order)
    ['natural', 'calibration', 'speed', 'other']
    """
    known = list(FAMILIES)
    return (known.index(name) if name in known else len(known) + (name == OTHER), name)


def where(name: str) -> str:
    """How a sentence says it.

    >>> where("adversarial"), where("speed")
    ('under attack', 'in speed')
    """
    return FAMILIES.get(name, f"in {name}")
