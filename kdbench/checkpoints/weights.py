"""The weights that a checkpoint holds, with how they were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """One network's tensors by name, as ``read_weights`` found them in a file."""

    path: Path
    """The file."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    state: Mapping[str, Tensor]
    """Tensors by name on the CPU, in the file's order and precision, prefixes of wrappers removed."""
    key: str | None
    """Where they lay in the file, as ``ema.state_dict``; None where the file holds nothing else."""
    stripped: tuple[str, ...]
    """Prefixes that were removed from all names, outermost first, as ``("module.",)``."""
    notes: tuple[str, ...]
    """What was chosen, removed and left out: a line each, to print and to record."""
