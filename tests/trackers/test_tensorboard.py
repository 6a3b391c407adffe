from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.trackers import score_names
from tests.trackers.trained import trained


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
        names = score_names(record)
        assert list(names.values()) == record.scores
        for name, score in names.items():
            [event] = events.Scalars(name)
            assert event.value == pytest.approx(score.value)
    [table] = events.Tensors("scores/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    accuracy = record.select("clean", "accuracy")[0]
    assert f"{accuracy.ci_low:.4f} to {accuracy.ci_high:.4f} | 500 |" in text
