"""Finished measurements of an unfinished run, so that an interruption costs one task at most."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from collections.abc import Mapping

import numpy as np
import torch

from kdbench.errors import first_line
from kdbench.files import arrays_bytes
from kdbench.results.record import Check, Score
from kdbench.running.evaluation import TaskResult
from kdbench.sealed import PARTS, Sealed, check


@dataclasses.dataclass(frozen=True)
class Partial:
    """A finished measurement of an unfinished run, kept so that an interruption costs one task at most."""

    files: Sealed
    """Of the run."""
    condition: str
    task: str
    inputs: Mapping[str, str]

    def load(self) -> TaskResult | None:
        """The measurement; None where there is none of these inputs or, with a warning, where it is damaged."""
        paths = [self.files.folder / name for name in self._names()]
        if not all(path.exists() for path in paths):
            return None
        try:
            for path, name in zip(paths, self._names(), strict=True):
                check(path, name)
            return self._parse(*(path.read_bytes() for path in paths))
        except Exception as error:  # whatever a damaged file makes the reader stumble over
            warnings.warn(f"{paths[0]} is damaged ({first_line(error)}): it is measured again", stacklevel=2)
            return None

    def _parse(self, text: bytes, arrays: bytes) -> TaskResult | None:
        stored = json.loads(text)
        if stored["inputs"] != dict(self.inputs):
            return None
        scores = [Score.model_validate_json(json.dumps(score)) for score in stored["scores"]]
        checks = [Check.model_validate_json(json.dumps(one)) for one in stored["checks"]]
        with np.load(io.BytesIO(arrays)) as file:
            correct = {name: torch.from_numpy(file[name]) for name in file.files}
        return TaskResult(scores, checks, correct, stored["subsets"], stored["seconds"], stored.get("smaller_batch"))

    def save(self, outcome: TaskResult) -> None:
        """Keep a measurement."""
        text, arrays = self._names()
        stored = {
            "inputs": dict(self.inputs),
            "scores": [score.model_dump(mode="json") for score in outcome.scores],
            "checks": [one.model_dump(mode="json") for one in outcome.checks],
            "subsets": outcome.subsets,
            "seconds": outcome.seconds,
            "smaller_batch": outcome.smaller_batch,
        }
        self.files.write({arrays: arrays_bytes(outcome.correct), text: json.dumps(stored).encode()})

    def _names(self) -> tuple[str, str]:
        stem = f"{PARTS}/{self.condition}-{self.task}"
        return f"{stem}.json", f"{stem}.npz"
