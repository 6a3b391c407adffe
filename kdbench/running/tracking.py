"""Trackers that people already use: the same epoch log and scores, sent there while a run goes on.

The run folder stays the truth. What a tracker gets is read from it, so that an interrupted, resumed or reused training
is there whole; a tracker that fails is left out with a warning, and the run goes on.
"""

from __future__ import annotations

import importlib
import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from kdbench import packages
from kdbench.errors import KdbenchError, unknown_name
from kdbench.results.headline import said_once
from kdbench.results.wording import describe_setting
from kdbench.training.log import read_log

if TYPE_CHECKING:
    from kdbench.results.record import Record, Score
    from kdbench.specs import RunSpec


class Tracker(Protocol):
    """Where epochs and scores are sent."""

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of one condition's log after epoch ``step``, from 1, as ``<condition>/<name>``."""

    def record(self, record: Record, path: Path) -> None:
        """A record that lies on disk at ``path``, finished or failed."""

    def close(self) -> None:
        """Nothing more will come; without ``record`` before it the run was interrupted."""


def score_names(record: Record) -> dict[str, Score]:
    """``scores/<condition>/<task>/<metric> <setting>`` to each score; without what a task's scores have alike."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in record.scores:
        groups.setdefault((score.condition, score.task), []).append(score)
    names = {}
    for (condition, task), own in groups.items():
        known = said_once(own, record.spec.suite)
        for score in own:
            rest = describe_setting({name: value for name, value in score.setting.items() if name not in known})
            # A slash would open a group of its own.
            names[f"scores/{condition}/{task}/{score.metric} {rest.replace('/', '_')}".rstrip()] = score
    return names


class TensorBoard:
    """Event files in ``<run folder>/tensorboard``, in place of earlier ones: scalars over epochs, scores as scalars
    and as a table."""

    def __init__(self, package: ModuleType, spec: RunSpec, folder: Path) -> None:
        events = folder / "tensorboard"
        for stale in events.glob("events.out.tfevents.*"):
            stale.unlink()
        self.writer = package.SummaryWriter(str(events))

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


class MLflow:
    """A run in the experiment ``kdbench/<suite>`` of the server or store that ``MLFLOW_TRACKING_URI`` names."""

    def __init__(self, package: ModuleType, spec: RunSpec, folder: Path) -> None:
        self.package = package
        self.client = package.MlflowClient()
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
        for start in range(0, len(found), 500):  # a batch holds 1,000 at most
            self.client.log_batch(self.run, metrics=found[start : start + 500])


def _allowed(name: str) -> str:
    """MLflow's alphabet of names."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:250]


TRACKERS: dict[str, tuple[Callable[[ModuleType, RunSpec, Path], Tracker], str, str]] = {
    "tensorboard": (TensorBoard, "torch.utils.tensorboard", "tensorboard"),
    "mlflow": (MLflow, "mlflow", "mlflow"),
}
"""Name to what makes it, the module it is made with, and the package that must be installed for that."""


def check_trackers(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once; raises ``KdbenchError`` for one that is unknown or whose package is not installed."""
    chosen = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in chosen:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        packages.require(f"tracker '{name}'", TRACKERS[name][2], packages.extra(name))
    return chosen


class Tracking:
    """The trackers of one run; each epoch of the student under each condition is sent once."""

    def __init__(self, names: Iterable[str], spec: RunSpec, folder: Path) -> None:
        """Open them; raises ``KdbenchError`` when one does not open, as nothing is trained yet."""
        self.trackers: dict[str, Tracker] = {}
        self.sent: set[tuple[str, int]] = set()
        for name in check_trackers(names):
            make, module, _ = TRACKERS[name]
            try:
                self.trackers[name] = make(importlib.import_module(module), spec, folder)
            except Exception as error:  # whatever a tracker's package raises: a server that is away, a full disk
                self.close()
                raise KdbenchError(f"tracker '{name}' does not open: {_line(error)}", "fix it or omit it") from error

    def log(self, condition: str, entries: Iterable[Mapping[str, Any]]) -> None:
        """Send the entries of a condition's training log that were not sent yet."""
        for entry in entries:
            epoch = int(entry["epoch"])
            if (condition, epoch) not in self.sent:
                self.sent.add((condition, epoch))
                self._epoch(epoch, {f"{condition}/{name}": value for name, value in entry.items() if name != "epoch"})

    def follow(self, condition: str, read: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """``log`` of what ``read`` gives, which is not asked where nobody listens."""
        if self.trackers:
            self.log(condition, read())

    def _epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        self._each(lambda tracker: tracker.epoch(epoch, numbers))

    def run(self, record: Record, path: Path) -> None:
        """Send a run that is on disk at ``path``, log and scores, without the epochs that were sent already."""
        if self.trackers:
            for entry in read_log(path.parent):
                self.log(entry.pop("condition"), [entry])
        self._each(lambda tracker: tracker.record(record, path))

    def close(self) -> None:
        """Close what is open."""
        self._each(lambda tracker: tracker.close())

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except Exception as error:  # a tracker's fault must not cost anyone their run
                del self.trackers[name]
                warnings.warn(f"tracker '{name}' failed, the run goes on without it: {_line(error)}", stacklevel=3)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
