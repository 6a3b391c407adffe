"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.trackers.names import score_names

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.specs import RunSpec


class TensorBoard:
    """Event files in ``<run folder>/tensorboard``, in place of earlier ones: scalars over epochs, scores as scalars
    and as a table."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        events = folder / "tensorboard"
        for stale in events.glob("events.out.tfevents.*"):
            stale.unlink()
        self.writer = SummaryWriter(str(events))

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def record(self, record: Record, path: Path) -> None:
        for name, score in score_names(record).items():
            self.writer.add_scalar(name, score.value, 0)
        self.writer.add_text("scores", _table(record))
        self.writer.add_text("spec", f"    {record.spec.canonical_json()}")

    def close(self) -> None:
        self.writer.close()


def _table(record: Record) -> str:
    """The scores as Markdown."""
    rows = [
        f"| {name.removeprefix('scores/')} | {score.value:.4f} | {score.ci_low:.4f} to {score.ci_high:.4f}"
        f" | {score.n} | {'yes' if record.flags(score) else ''} |"
        for name, score in score_names(record).items()
    ]
    return "\n".join(["| score | value | 95 % interval | n | flagged |", "| --- | --- | --- | --- | --- |", *rows])
