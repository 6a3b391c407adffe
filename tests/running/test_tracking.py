from __future__ import annotations

import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.plugin.registry import Registry
from kdbench.results.record import Record, read_record
from kdbench.running import tracking
from kdbench.running.time_limit import time_limit
from kdbench.specs import RunSpec
from kdbench.trackers import Tracker, TrackerSpec
from kdbench.training.checkpoint import load_checkpoint
from tests.trackers.trained import trained


class Remembering:
    """A tracker that keeps what it gets, or fails from a certain epoch on."""

    fails_from = 99
    made: list[Remembering]

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.records: list[Record] = []
        self.closed = 0
        type(self).made.append(self)

    def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        if step >= self.fails_from:
            raise ConnectionError("the server\nis away")
        self.epochs.append((step, dict(numbers)))

    def record(self, record: Record, path: Path) -> None:
        assert read_record(path) == record
        self.records.append(record)

    def close(self) -> None:
        self.closed += 1


def add(monkeypatch: pytest.MonkeyPatch, *specs: TrackerSpec) -> Registry[TrackerSpec]:
    """The installed trackers and these, until the test ends."""
    installed = load_plugins().trackers
    registry = Registry[TrackerSpec]("tracker")
    for name in installed:
        registry.add(name, installed.get(name), installed.origin(name))
    for spec in specs:
        registry.add(spec.name, spec, "a test")
    monkeypatch.setattr(load_plugins(), "trackers", registry)
    return registry


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    class Fresh(Remembering):
        made: list[Remembering] = []  # noqa: RUF012  # each test its own

    add(monkeypatch, TrackerSpec("remembering", Fresh, "Keeps what it gets."))
    return Fresh


def test_a_tracker_gets_the_log_live_and_the_scores(
    tiny_suite: Path, tmp_path: Path, remembering: type[Remembering]
) -> None:
    record, log, _ = trained(tiny_suite, tmp_path / "runs", track=["remembering"])
    [tracker] = remembering.made
    assert [step for step, _ in tracker.epochs] == [1, 2, 3]
    for (step, numbers), entry in zip(tracker.epochs, log, strict=True):
        assert numbers == {f"clean/{name}": entry[name] for name in entry if name not in ("condition", "epoch")}
        assert entry["epoch"] == step
    assert tracker.records == [record]
    assert tracker.closed == 1

    trained(tiny_suite, tmp_path / "runs", track=["remembering"])  # finished already: sent whole
    assert remembering.made[1].epochs == tracker.epochs
    assert remembering.made[1].records == [record]


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(
    tiny_suite: Path, tmp_path: Path, remembering: type[Remembering]
) -> None:
    remembering.fails_from = 2
    with pytest.warns(UserWarning, match="tracker 'remembering' failed.*ConnectionError: the server is away") as caught:
        record, log, _ = trained(tiny_suite, tmp_path / "runs", track=["remembering"])
    assert len(caught) == 1
    assert record.status == "finished"
    assert len(log) == 3
    assert [step for step, _ in remembering.made[0].epochs] == [1]


def test_an_interrupted_training_is_sent_whole_and_once(remembering: type[Remembering], tmp_path: Path) -> None:
    entries = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    spec: Any = None
    found = tracking.Tracking([load_plugins().trackers.get("remembering")], spec, tmp_path)
    found.log("clean", entries[:2])  # what the log on disk holds at the first epoch after a resumption
    found.log("clean", entries)
    found.log("sym-40", entries[:1])
    assert [step for step, _ in remembering.made[0].epochs] == [1, 2, 3, 1]


def test_what_is_missing_is_said_before_anything_is_trained(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KdbenchError, match=r"no tracker named 'tensorbord' \(did you mean 'tensorboard'\?"):
        trained(tiny_suite, tmp_path / "runs", track=["tensorbord"])

    def broken(*_: object) -> Tracker:
        raise OSError("no space")

    add(
        monkeypatch,
        TrackerSpec("away", Remembering, "", "not_installed"),
        TrackerSpec("theirs", Remembering, "", "not_installed", "`pip install theirs[server]`"),
        TrackerSpec("broken", broken, ""),
    )
    with pytest.raises(KdbenchError, match=r"needs the package not_installed.*pip install 'kdbench\[away\]'"):
        trained(tiny_suite, tmp_path / "runs", track=["away"])
    with pytest.raises(KdbenchError, match=r"tracker 'theirs' needs.*pip install theirs\[server\]"):
        trained(tiny_suite, tmp_path / "runs", track=["theirs"])
    assert not list((tmp_path / "runs").rglob("checkpoint*"))
    with pytest.warns(UserWarning, match="tracker 'broken' failed, the run goes on without it: OSError: no space"):
        record, _, _ = trained(tiny_suite, tmp_path / "runs", track="broken")
    assert record.status == "finished"


def test_a_tracker_that_hangs_is_left_out_and_takes_nothing_of_the_runs_own_time(
    tmp_path: Path, remembering: type[Remembering]
) -> None:
    def hang(self: Remembering, step: int, numbers: Mapping[str, float]) -> None:
        while True:
            time.sleep(0.01)

    remembering.epoch = hang  # type: ignore[method-assign]
    spec: Any = None
    with time_limit(10):
        found = tracking.Tracking([load_plugins().trackers.get("remembering")], spec, tmp_path, timeout=1)
        found.timeout = 0.001
        with pytest.warns(UserWarning, match="tracker 'remembering' failed.*longer than the 0.001 minutes"):
            found.log("clean", [{"epoch": 1}])
        left, again = signal.getitimer(signal.ITIMER_REAL)
        assert not found.trackers and 9 * 60 < left <= 10 * 60 and again
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_a_tracker_draws_and_changes_is_none_of_the_trainings(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rude(Remembering):
        made: list[Remembering] = []  # noqa: RUF012  # its own

        def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
            torch.manual_seed(step)
            np.random.seed(step)
            random.seed(step)
            if step == 2:
                torch.set_default_dtype(torch.float64)

    class Leaving(Remembering):
        made: list[Remembering] = []  # noqa: RUF012  # its own

        def epoch(self, step: int, numbers: Mapping[str, float]) -> None:
            raise SystemExit(3)

    add(monkeypatch, TrackerSpec("rude", Rude, ""), TrackerSpec("leaving", Leaving, ""))
    plain, _, folder = trained(tiny_suite, tmp_path / "plain")
    with pytest.warns(UserWarning, match="tracker '(rude|leaving)' failed") as caught:
        record, _, other = trained(tiny_suite, tmp_path / "tracked", track=["rude", "leaving"])
    assert len(caught) == 2
    assert any("torch's default dtype" in str(one.message) for one in caught)
    assert record.scores == plain.scores
    checkpoint = "checkpoint-clean.safetensors"
    first, _ = load_checkpoint(folder / checkpoint)
    second, _ = load_checkpoint(other / checkpoint)
    assert all(torch.equal(first[name], second[name]) for name in first)
