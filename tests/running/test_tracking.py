from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.results.record import Record, read_record
from kdbench.running import tracking
from kdbench.running.runner import record_path, run
from kdbench.specs import RunSpec
from tests.leaderboard.evidence import make


def trained(suite: Path, out: Path, **options: Any) -> tuple[Record, list[dict[str, Any]], Path]:
    """One condition of the tiny suite: its record, its log and its folder."""
    record = run(str(suite), "ce", conditions=["clean"], tasks=["clean", "calibration"], out=out, **options)
    folder = record_path(record, out).parent
    return record, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()], folder


class Remembering:
    """A tracker that keeps what it gets, or fails from a certain epoch on."""

    fails_from = 99
    made: list[Remembering]

    def __init__(self, package: ModuleType, spec: RunSpec, folder: Path) -> None:
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


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    class Fresh(Remembering):
        made: list[Remembering] = []  # noqa: RUF012  # each test its own

    monkeypatch.setitem(tracking.TRACKERS, "remembering", (Fresh, "json", "json"))
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
    found = tracking.Tracking(["remembering"], spec, tmp_path)
    found.log("clean", entries[:2])  # what the log on disk holds at the first epoch after a resumption
    found.log("clean", entries)
    found.log("sym-40", entries[:1])
    assert [step for step, _ in remembering.made[0].epochs] == [1, 2, 3, 1]


def test_what_is_missing_is_said_before_anything_is_trained(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KdbenchError, match=r"no tracker named 'tensorbord' \(did you mean 'tensorboard'\?"):
        trained(tiny_suite, tmp_path / "runs", track=["tensorbord"])
    monkeypatch.setitem(tracking.TRACKERS, "away", (Remembering, "not_installed", "not_installed"))
    with pytest.raises(KdbenchError, match=r"needs the package not_installed.*pip install 'kdbench\[away\]'"):
        trained(tiny_suite, tmp_path / "runs", track=["away"])

    def broken(*_: object) -> tracking.Tracker:
        raise OSError("no space")

    monkeypatch.setitem(tracking.TRACKERS, "broken", (broken, "json", "json"))
    with pytest.raises(KdbenchError, match="tracker 'broken' does not open: OSError: no space"):
        trained(tiny_suite, tmp_path / "runs", track="broken")
    assert not list((tmp_path / "runs").rglob("checkpoint*"))


def test_names_of_scores_leave_out_what_a_tasks_scores_have_alike() -> None:
    record = make().record
    budget = {"eps": 8 / 255, "step_size": 0.006, "steps": 10}
    scores = [
        score.model_copy(update={"setting": {**score.setting, **budget}})
        for score in record.scores
        if "source" in score.setting
    ]
    scores = [*scores, scores[0].model_copy(update={"metric": "m", "setting": {"step_size": 2 / 255, "rule": "any"}})]
    names = tracking.score_names(record.model_copy(update={"scores": scores[:-1]}))
    assert list(names) == [
        f"scores/clean/transfer/{metric} {source}"
        for source in ("teacher", "reference", "self")
        for metric in ("accuracy", "conditional_accuracy")
    ]
    assert list(names.values()) == scores[:-1]
    assert list(tracking.score_names(record.model_copy(update={"scores": scores[-1:]}))) == [
        "scores/clean/transfer/m step_size 2_255 any"
    ], "a slash would open a group"


def test_tensorboard_shows_the_same_numbers(tiny_suite: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # a finished run is written again, not twice
        record, log, folder = trained(tiny_suite, tmp_path / "runs", track=["tensorboard"])
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        for name in ("loss", "lr", "seconds", "test_accuracy"):
            points = [(event.step, event.value) for event in events.Scalars(f"clean/{name}")]
            assert points == [(entry["epoch"], pytest.approx(entry[name])) for entry in log]
        names = tracking.score_names(record)
        assert list(names.values()) == record.scores
        for name, score in names.items():
            [event] = events.Scalars(name)
            assert event.value == pytest.approx(score.value)
    [table] = events.Tensors("scores/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    accuracy = record.select("clean", "accuracy")[0]
    assert f"{accuracy.ci_low:.4f} to {accuracy.ci_high:.4f} | 500 |" in text


def test_mlflow_shows_the_same_numbers(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the store that needs no more than the client
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")

    record, log, _ = trained(tiny_suite, tmp_path / "runs", track=["mlflow"])
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("kdbench/tiny")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["kdbench.run_id"] == record.run_id
    assert found.data.params["clean/lr"] == "0.03"
    history = client.get_metric_history(found.info.run_id, "clean/loss")
    assert [(point.step, point.value) for point in history] == [(entry["epoch"], entry["loss"]) for entry in log]
    accuracy = record.select("clean", "accuracy")[0]
    assert found.data.metrics["scores/clean/clean/accuracy"] == accuracy.value
    assert [artifact.path for artifact in client.list_artifacts(found.info.run_id)] == ["record.json"]
