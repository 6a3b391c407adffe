"""Seeds as people write them."""

from __future__ import annotations

import re

from kdbench.errors import KdbenchError

MOST_SEEDS = 100_000
"""Of one range: more was a slip of the finger."""


def parse_seeds(text: str) -> list[int]:
    """Seeds from text: numbers and ranges with both ends.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]

    Raises:
        KdbenchError: it is something else, or a range that runs backwards.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,15})(?:-(\d{1,15}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not first <= last < first + MOST_SEEDS:
            raise KdbenchError(f"seeds '{text}': found '{part.strip()}'", "write them as 0-4 or 0,2,7")
        seeds += range(first, last + 1)
    return seeds
