from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench.trackers import score_names
from tests.trackers.trained import trained

BLOCK = 32768


def stored(path: Path) -> Iterator[bytes]:
    """The records of an offline run's file: LevelDB's log format, behind a header of seven bytes."""
    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


def test_wandb_shows_the_same_numbers_offline(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto.wandb_internal_pb2 import Record as Stored

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    record, log, folder = trained(tiny_suite, tmp_path / "runs", track=["wandb"])
    assert capfd.readouterr().out == ""
    [file] = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = []
    for text in stored(file):
        found.append(Stored())
        found[-1].ParseFromString(text)
    [begun] = [one.run for one in found if one.WhichOneof("record_type") == "run"][:1]
    assert (begun.project, begun.run_group, begun.display_name) == ("kdbench", "tiny", "ce seed 0")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["params"] == record.spec.params
    assert config["recipes"]["clean"]["lr"] == 0.03

    history: list[dict[str, Any]] = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in one.history.item}
        for one in found
        if one.WhichOneof("record_type") == "history"
    ]
    epochs = [row for row in history if "clean/epoch" in row]
    assert [row["clean/epoch"] for row in epochs] == [entry["epoch"] for entry in log]
    for name in ("loss", "lr", "seconds", "test_accuracy"):
        assert [row[f"clean/{name}"] for row in epochs] == [entry[name] for entry in log]
    summary = {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for one in found
        if one.WhichOneof("record_type") == "summary"
        for item in one.summary.update
    }
    for name, score in score_names(record).items():
        assert summary[name] == score.value
    [left] = [one.exit.exit_code for one in found if one.WhichOneof("record_type") == "exit"]
    assert left == 0
