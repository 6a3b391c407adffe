"""Where a run finds its data, computes and writes: what a caller says of their machine, passed on as one value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

    from kdbench.data import DataPlace
    from kdbench.specs import RunSpec, Suite

CRASH: Final = "traceback.txt"
"""Beside a failed record: where the method, or a task, raised what it did not expect."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What is the same for every run and every measurement of one call."""

    place: DataPlace
    device: torch.device
    out: Path
    """Folder of runs and of trained networks."""
    compile: bool = True
    """Whether networks of long trainings are compiled where that pays, on a GPU."""
    timeout: float | None = None
    """Minutes after which a run ends as a failed one; None: no limit."""

    @classmethod
    def make(
        cls,
        *,
        data_dir: str | Path | None = None,
        device: str = "auto",
        out: str | Path = "runs",
        download: bool = True,
        progress: bool = False,
        compile: bool = True,
        timeout: float | None = None,
    ) -> RunOptions:
        """From the arguments of ``kdbench.run``. Raises ``KdbenchError`` for a device that is not there, and a limit
        that can't be kept."""
        from kdbench.data import DataPlace
        from kdbench.devices import resolve_device
        from kdbench.running.time_limit import check_limit

        check_limit(timeout)
        place = DataPlace.default(data_dir, download=download, progress=progress)
        return cls(place, resolve_device(device), Path(out), compile, timeout)

    @property
    def progress(self) -> bool:
        """Whether progress bars are shown."""
        return self.place.progress

    def trainings(self, suite: Suite) -> Path:
        """Where a suite's trained networks are kept, for every run."""
        return self.out / suite.name / "trainings"

    def examples(self, suite: Suite) -> Path:
        """Where adversarial examples of a suite's networks are kept, for every run."""
        return self.out / suite.name / "examples"


def run_folder(spec: RunSpec, out: Path) -> Path:
    """Where a run is kept: record, log, checkpoints and per-example results."""
    return out / spec.suite.name / spec.method / spec.run_id


def broke_off(folder: Path) -> bool:
    """Whether the failed record of a run's folder is of an error that may not come again, so that the run goes on.

    A training that diverges would diverge again; a method's exception or a full memory may be mended.
    """
    return (folder / CRASH).exists()
