"""Trackers: where people already watch their experiments, and what a tracker of anybody's must be able to do."""

from __future__ import annotations

from kdbench.trackers.mlflow import MLflow
from kdbench.trackers.names import score_names
from kdbench.trackers.spec import Tracker, TrackerSpec
from kdbench.trackers.tensorboard import TensorBoard
from kdbench.trackers.wandb import Wandb

__all__ = ["Tracker", "TrackerSpec", "builtin_trackers", "score_names"]


def builtin_trackers() -> list[TrackerSpec]:
    """The trackers that come with kdbench; their packages do not."""
    return [
        TrackerSpec("tensorboard", TensorBoard, "Event files in the run's folder, for TensorBoard.", "tensorboard"),
        TrackerSpec("mlflow", MLflow, "A run on the MLflow server, or in the store, of MLFLOW_TRACKING_URI.", "mlflow"),
        TrackerSpec(
            "wandb",
            Wandb,
            "A run of Weights & Biases in project kdbench; WANDB_MODE=offline keeps it here.",
            "wandb",
        ),
    ]
