"""Finished measurements of an unfinished run, so that an interruption costs one task at most."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from kdbench.files import save_arrays, write_atomically
from kdbench.results.record import Check, Score
from kdbench.running.evaluation import TaskResult


@dataclasses.dataclass(frozen=True)
class Partial:
    """A finished measurement of an unfinished run, kept so that an interruption costs one task at most."""

    folder: Path
    condition: str
    task: str
    inputs: Mapping[str, str]

    def load(self) -> TaskResult | None:
        text, arrays = self._paths()
        if not text.exists() or not arrays.exists():
            return None
        stored = json.loads(text.read_text())
        if stored["inputs"] != dict(self.inputs):
            return None
        scores = [Score.model_validate_json(json.dumps(score)) for score in stored["scores"]]
        checks = [Check.model_validate_json(json.dumps(check)) for check in stored["checks"]]
        with np.load(arrays) as file:
            correct = {name: torch.from_numpy(file[name]) for name in file.files}
        return TaskResult(scores, checks, correct, stored["subsets"], stored["seconds"], stored.get("smaller_batch"))

    def save(self, outcome: TaskResult) -> None:
        text, arrays = self._paths()
        save_arrays(arrays, outcome.correct)
        stored = {
            "inputs": dict(self.inputs),
            "scores": [score.model_dump(mode="json") for score in outcome.scores],
            "checks": [check.model_dump(mode="json") for check in outcome.checks],
            "subsets": outcome.subsets,
            "seconds": outcome.seconds,
            "smaller_batch": outcome.smaller_batch,
        }
        write_atomically(text, json.dumps(stored).encode())

    def _paths(self) -> tuple[Path, Path]:
        stem = f"{self.condition}-{self.task}"
        return self.folder / f"{stem}.json", self.folder / f"{stem}.npz"
