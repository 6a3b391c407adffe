"""MLflow."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.trackers.names import score_names

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.specs import RunSpec

BATCH = 500
"""Metrics that are sent at once; 1,000 is MLflow's most."""


class MLflow:
    """A run in the experiment ``kdbench/<suite>`` of the server or store that ``MLFLOW_TRACKING_URI`` names."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        self.package = importlib.import_module("mlflow")
        self.client = self.package.MlflowClient()
        name = f"kdbench/{spec.suite.label}"
        experiment = self.client.get_experiment_by_name(name)
        where = experiment.experiment_id if experiment else self.client.create_experiment(name)
        tags = {"kdbench.run_id": spec.run_id, "kdbench.method": spec.method, "kdbench.seed": str(spec.seed)}
        self.run = self.client.create_run(where, run_name=f"{spec.method} seed {spec.seed}", tags=tags).info.run_id
        self.status = "KILLED"
        for condition, params in spec.params.items():
            for key, value in {**params, **spec.recipes[condition].model_dump()}.items():
                self.client.log_param(self.run, _allowed(f"{condition}/{key}"), value)

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        self._metrics(numbers, step)

    def record(self, record: Record, path: Path) -> None:
        self._metrics({name: score.value for name, score in score_names(record).items()}, 0)
        self.client.log_artifact(self.run, str(path))
        self.status = "FAILED" if record.status == "failed" else "FINISHED"

    def close(self) -> None:
        self.client.set_terminated(self.run, self.status)

    def _metrics(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metric = self.package.entities.Metric
        found = [metric(_allowed(name), value, now, step) for name, value in numbers.items()]
        for start in range(0, len(found), BATCH):
            self.client.log_batch(self.run, metrics=found[start : start + BATCH])


def _allowed(name: str) -> str:
    """MLflow's alphabet of names."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:250]
