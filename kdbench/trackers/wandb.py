"""Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.trackers.names import score_names

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.specs import RunSpec


class Wandb:
    """A run in the project ``kdbench``, or the one that ``WANDB_PROJECT`` names; its own files are in
    ``<run folder>/wandb``. With ``WANDB_MODE=offline`` nothing is sent: ``wandb sync`` does that later."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        self.package = importlib.import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)  # it would fall back to the system's temporary folder
        settings = self.package.Settings(console="off", silent=True)  # what is printed is not its business
        self.run = self.package.init(
            project=None if settings.project else "kdbench",
            group=spec.suite.label,
            name=f"{spec.method} seed {spec.seed}",
            dir=str(folder),
            reinit="create_new",
            settings=settings,
            config={
                "run_id": spec.run_id,
                "suite": spec.suite.label,
                "method": spec.method,
                "seed": spec.seed,
                "params": spec.params,
                "recipes": {condition: recipe.model_dump(mode="json") for condition, recipe in spec.recipes.items()},
            },
        )
        self.ended = 1  # unless a finished record comes
        for condition in spec.params:
            self.run.define_metric(f"{condition}/epoch")
            self.run.define_metric(f"{condition}/*", step_metric=f"{condition}/epoch")

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        conditions = {name.partition("/")[0] for name in numbers}
        self.run.log({**numbers, **{f"{condition}/epoch": step for condition in conditions}})

    def record(self, record: Record, path: Path) -> None:
        scores = score_names(record)
        for name, score in scores.items():
            self.run.summary[name] = score.value
        rows = [
            [name.removeprefix("scores/"), score.value, score.ci_low, score.ci_high, score.n, bool(record.flags(score))]
            for name, score in scores.items()
        ]
        self.run.log({
            "scores": self.package.Table(["score", "value", "low", "high", "n", "flagged"], rows)
        })  # fmt: skip
        self.run.log_artifact(str(path), name=f"record-{record.run_id}", type="record")
        self.ended = int(record.status == "failed")

    def close(self) -> None:
        self.run.finish(exit_code=self.ended)
