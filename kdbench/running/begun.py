"""What a run was asked for, kept in its folder while it has no record: by it an unfinished run is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kdbench.files import write_atomically
from kdbench.results.untrusted import Unreadable, read_json
from kdbench.specs.values import Spec

BEGUN: Final = "begun"
"""Name of the file, which holds JSON. No list of hashes has it: nothing is computed from it, and a record ends it."""


class Part(Spec):
    """One training of a run."""

    folder: str
    """Its name among the trainings."""
    epochs: int


class Begun(Spec):
    """A run that has begun."""

    params: dict[str, Any]
    """Of the method, as they were passed."""
    changes: dict[str, Any]
    """Of the suite."""
    seed: int
    trainings: dict[str, Part]
    """Condition and network, as ``clean/student`` or ``clean/teacher``, in the order of the run."""

    def write(self, folder: Path) -> None:
        """Leave it in a run's folder."""
        write_atomically(folder / BEGUN, self.model_dump_json(indent=1).encode())


def read_begun(folder: Path) -> Begun | None:
    """Of a run's folder; None where it has none that can be read."""
    try:
        return Begun.model_validate_json(read_json(folder / BEGUN)[1])
    except (Unreadable, ValidationError):
        return None
