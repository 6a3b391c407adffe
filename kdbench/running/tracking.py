"""The trackers of one run: the same epoch log and scores, sent there while it goes on.

The run folder stays the truth. What a tracker gets is read from it, so that an interrupted, resumed or reused training
is there whole; a tracker that fails is left out with a warning, and the run goes on.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kdbench import packages
from kdbench.devices import CPU
from kdbench.inference.random_numbers import kept_random_numbers
from kdbench.plugin.registry import Registry
from kdbench.running.time_limit import TookTooLongError, time_limit
from kdbench.shared_state import left_alone
from kdbench.trackers.spec import Tracker, TrackerSpec
from kdbench.training.log import read_log

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.specs import RunSpec


def chosen_trackers(names: Iterable[str], registry: Registry[TrackerSpec]) -> tuple[TrackerSpec, ...]:
    """Those of these names, each once; raises ``KdbenchError`` for one that is unknown or whose package is not
    installed."""
    found = [registry.get(name) for name in dict.fromkeys([names] if isinstance(names, str) else names)]
    for spec in found:
        if spec.package is not None:
            packages.require(f"tracker '{spec.name}'", spec.package, spec.install or packages.extra(spec.name))
    return tuple(found)


@contextlib.contextmanager
def _guest(name: str, device: torch.device) -> Iterator[None]:
    """What a tracker draws is not drawn from the training's random numbers, and what it changes of torch is undone."""
    with kept_random_numbers(device), left_alone(f"tracker '{name}'"):
        yield


class Tracking:
    """The trackers of one run; each epoch of the student under each condition is sent once."""

    def __init__(
        self, chosen: Iterable[TrackerSpec], spec: RunSpec, folder: Path, device: torch.device = CPU,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Open them. ``timeout``: minutes that a tracker may take at a time; the run's own limit is not spent."""
        self.trackers: dict[str, Tracker] = {}
        self.sent: set[tuple[str, int]] = set()
        self.device, self.timeout = device, timeout
        for one in chosen:
            with self._left_out(one.name):
                self.trackers[one.name] = one.open(spec, folder)

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
            with self._left_out(name):
                call(tracker)

    @contextlib.contextmanager
    def _left_out(self, name: str) -> Iterator[None]:
        """Leave out a tracker that fails in the block: a server that is away must not cost anyone their run."""
        try:
            with _guest(name, self.device), time_limit(self.timeout):
                yield
        except (Exception, SystemExit, TookTooLongError) as error:  # anybody's code
            self.trackers.pop(name, None)
            warnings.warn(f"tracker '{name}' failed, the run goes on without it: {_line(error)}", stacklevel=4)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
