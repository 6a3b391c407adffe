"""Which cases run: all, or those that are cheap and stand for the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")
ALL = bool(os.environ.get("KDBENCH_ACCELERATOR"))


def share(cases: Sequence[Case], chosen: Sequence[Case]) -> Sequence[Case]:
    """``cases`` with KDBENCH_ACCELERATOR, else ``chosen``, which must be among them."""
    assert all(case in cases for case in chosen), [case for case in chosen if case not in cases]
    return cases if ALL else chosen
