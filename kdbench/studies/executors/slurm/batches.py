"""What SLURM was given of a study: a file for each submission, written before and after it."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Sequence
from pathlib import Path

from kdbench.files import write_atomically
from kdbench.specs import Spec
from kdbench.studies.folder import StudyFolder


class Batch(Spec):
    """One submission: a job array, or a job where it has one node."""

    place: int
    """Counted from 0."""
    name: str
    """Of its jobs: no other batch has it."""
    user: str
    keys: tuple[str, ...]
    job: str | None = None
    """None: nobody knows whether SLURM took it."""

    def job_of(self, place: int) -> str:
        """The id of a node's job, by its place among ``keys``."""
        return f"{self.job}_{place}" if len(self.keys) > 1 else str(self.job)


class Batches:
    """``<study>/slurm/<place>.json``. Only a study's driver writes them."""

    def __init__(self, folder: StudyFolder) -> None:
        self._path, self._study = folder.path / "slurm", folder.name

    def all(self) -> list[Batch]:
        """In the order in which they were submitted."""
        return [Batch.model_validate_json(file.read_text(encoding="utf-8")) for file in self._files()]

    def add(self, keys: Sequence[str]) -> Batch:
        """A batch that is about to be submitted."""
        name = f"kdbench-{self._study}-{uuid.uuid4().hex[:12]}"
        return self._keep(Batch(place=len(self._files()), name=name, user=getpass.getuser(), keys=tuple(keys)))

    def submitted(self, batch: Batch, job: str) -> Batch:
        """SLURM took it."""
        return self._keep(batch.model_copy(update={"job": job}))

    def withdrawn(self, batch: Batch) -> None:
        """SLURM didn't take it, or lost it."""
        self._keep(batch.model_copy(update={"keys": (), "job": ""}))

    def jobs(self) -> dict[str, str]:
        """The last job of each node, by key."""
        return {
            key: batch.job_of(place) for batch in self.all() if batch.job for place, key in enumerate(batch.keys)
        }  # fmt: skip

    def users(self) -> set[str]:
        """Who submitted."""
        return {batch.user for batch in self.all()}

    def _files(self) -> list[Path]:
        return sorted(self._path.glob("*.json"))

    def _keep(self, batch: Batch) -> Batch:
        write_atomically(self._path / f"{batch.place:06d}.json", batch.model_dump_json(indent=1).encode())
        return batch
