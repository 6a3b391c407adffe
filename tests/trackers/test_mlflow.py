from __future__ import annotations

from pathlib import Path

import pytest

from tests.trackers.trained import trained


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
