"""What a tracker is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.specs import RunSpec


class Tracker(Protocol):
    """Where epochs and scores of one run are sent."""

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of one condition's log after epoch ``step``, from 1, as ``<condition>/<name>``."""

    def record(self, record: Record, path: Path) -> None:
        """A record that lies on disk at ``path``, finished or failed."""

    def close(self) -> None:
        """Nothing more will come; without ``record`` before it the run was interrupted."""


@dataclasses.dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name, for ``--track NAME``.

    ``open(spec, folder)`` starts one for the run that ``spec`` describes, which is kept in ``folder``. It imports its
    package. What a tracker raises, there or later, costs its user the tracker, and never the run.
    """

    name: str
    open: Callable[[RunSpec, Path], Tracker]
    description: str
    """One line for ``kdbench list trackers``."""
    package: str | None = None
    """Top-level module that must be installed; None: what the plugin itself depends on."""
    install: str = ""
    """What to do where it is not; "": kdbench's extra of this tracker's name."""
