"""Where a run finds its data, computes and writes: what a caller says of their machine, passed on as one value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdbench.sealed import MISSING, SWAP, Sealed, faults, mend

if TYPE_CHECKING:
    import torch

    from kdbench.data import DataPlace
    from kdbench.specs import RunSpec, Suite

RECORD: Final = "record.json"
PREVIOUS: Final = "record.previous.json"
"""A run's record before it was run afresh or mended."""
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
    numbered: bool = False
    """Whether the device was named by its number: then it is the only one, where its type alone is all of them."""

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
        return cls(place, resolve_device(device), Path(out), compile, timeout, numbered=":" in device)

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


def checkpoint_name(condition: str) -> str:
    """A run's own copy of its student."""
    return f"checkpoint-{condition}.safetensors"


def softmax_name(condition: str) -> str:
    """A run's own copy of the student's softmax vectors over the epochs."""
    return f"softmax-{condition}.npz"


def is_finished(folder: Path) -> bool:
    """Whether a run is done and its files are as they were written, those that nobody has deleted since."""
    there = (folder / RECORD).exists() and not broke_off(folder)
    return there and not (folder / SWAP).exists() and {*faults(folder).values()} <= {MISSING}


def mend_run(folder: Path) -> None:
    """Make a run ready to go on. Where one of its files is damaged, it isn't finished, and its record is an old one."""
    record = folder / RECORD
    if not {*mend(folder).values()} <= {MISSING} and record.exists():
        Sealed(folder).write({PREVIOUS: record.read_bytes()}, [RECORD])
