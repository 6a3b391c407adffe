"""How large what others wrote may be: a bound for every number, depth and length, checked before anything uses it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

WHOLE: Final = 2**64
"""No seed of torch's is larger, and every whole number up to it fits a float."""
EXACT: Final = 2**53
"""Largest whole number that is exact in a float."""
DEPTH: Final = 32
"""Tables within tables of a file; ours have six."""
MOST_VALUES: Final = 100_000
"""Values of a file of settings, or of parameters in a record; ours have a few hundred."""
MOST_CLASSES: Final = 100_000
"""Classes of a network: four times those of the largest data set of photographs that is in use."""
LONGEST_TEXT: Final = 20_000
"""Characters of one text in a record or a suite; the longest, a suite's reasons, has two thousand."""
LONGEST_NAME: Final = 100
"""Characters of a name that is also a folder's; file systems take 255 bytes."""
MOST_PARTS: Final = 200
"""Conditions of a suite, its tasks, its networks, entries of a list in it."""

Whole = Annotated[int, Field(ge=-WHOLE, le=WHOLE)]
"""A seed or a version."""
Number = Annotated[int, Field(ge=1, le=EXACT)]
"""How many there are of something."""


def check_values(value: Any, *, depth: int = DEPTH, most: int = MOST_VALUES, exactly: bool = False) -> None:
    """Raise ``ValueError`` for a value of JSON or TOML that is nested too deeply or has too many parts.

    Nothing recurses, so that a value of any depth is looked at safely. ``exactly``: also for what JSON has not, and for
    numbers and texts beyond the bounds above.

    >>> check_values({"a": [1, [2]]}, depth=2)
    Traceback (most recent call last):
    ...
    ValueError: is nested more than 2 deep
    """
    level, seen = [value], 0
    for _ in range(depth + 1):
        seen += len(level)
        if seen > most:
            raise ValueError(f"has more than {most:,} values")
        inside: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                inside += one.values()
            elif isinstance(one, list | tuple):
                inside += one
            elif exactly:
                _check_one(one)
        if not inside:
            return
        level = inside
    raise ValueError(f"is nested more than {depth} deep")


def _check_one(value: Any) -> None:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"has a text of more than {LONGEST_TEXT:,} characters")
    if isinstance(value, int) and abs(value) > WHOLE:
        raise ValueError("has a whole number beyond 2^64")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"has {value}, which is no finite number")
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"has a {type(value).__name__}, expected text, a number, a truth value, a list or a table")


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    check_values(values, exactly=True)
    return values


Values = Annotated[dict[str, Any], AfterValidator(_checked)]
"""Parameters or settings whose own schema comes later."""
