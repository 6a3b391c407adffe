"""What tasks measure, in families: columns of one often say the same, and count once in a leaderboard's order."""

from __future__ import annotations

from typing import Final

FAMILIES: Final = ("natural", "adversarial", "noisy labels", "calibration")
"""In the order in which a leaderboard shows them."""
OTHER: Final = "other"
"""Of a task that names none."""


def family_order(name: str) -> tuple[int, str]:
    """Sorts families: those of ``FAMILIES`` first, then all others by name, ``OTHER`` last.

    >>> sorted(["other", "speed", "calibration", "natural"], key=family_order)
    ['natural', 'calibration', 'speed', 'other']
    """
    return (FAMILIES.index(name) if name in FAMILIES else len(FAMILIES) + (name == OTHER), name)
