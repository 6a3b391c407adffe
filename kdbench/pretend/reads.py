"""Which lines of code read values back from a device: each read makes the host wait for all that was asked of it."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch

_counting: list[Reads] = []
_SKIPPED = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass
class Reads:
    """Reads while a ``counted_reads`` was open, by what was read and where: ``('item', 'loss.py:12')``."""

    places: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.places.total()

    def check(self, budget: int, what: str) -> None:
        """Raise ``AssertionError`` that names the lines where ``what`` read more often than ``budget`` times."""
        places = ", ".join(f"{name} in {where} x {count}" for (name, where), count in sorted(self.places.items()))
        assert self.total <= budget, f"{what} reads {self.total} values back, at most {budget} are allowed: {places}"


@contextlib.contextmanager
def counted_reads() -> Iterator[Reads]:
    """Count what is read back from the pretend accelerator: ``.item()``, ``.tolist()``, ``.cpu()``, a ``bool()`` or an
    ``if`` of a tensor, and results whose shape depends on values, as of ``nonzero`` and of boolean indexing."""
    reads = Reads()
    _counting.append(reads)
    try:
        yield reads
    finally:
        _counting.remove(reads)


def note(name: str) -> None:
    """A value was read back by an operation of that name."""
    if _counting:
        place = (name, _where())
        for reads in _counting:
            reads.places[place] += 1


def _where() -> str:
    """File and line of the innermost frame that is neither torch's nor the pretend accelerator's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
