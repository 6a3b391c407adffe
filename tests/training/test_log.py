from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.attacks import pgd_best_iterate
from kdbench.data import stratified_subset
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import predict
from kdbench.specs import Recipe, Watch
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.monitor import Monitor
from tests.training.spies import CPU, Spy, run, train_set


def test_log_and_checkpoint_and_monitor(tmp_path: Path) -> None:
    data = train_set()
    student = run(Spy(), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path, monitor=Monitor(data.images, data.labels))
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(entry["epoch"], entry["threads"]) for entry in entries] == [(1, 1), (2, 1)]
    expected = (predict(student, data.images, device=CPU).argmax(1) == data.labels).float().mean().item()
    assert entries[-1]["test_accuracy"] == pytest.approx(expected)
    assert entries[-1]["test_n"] == 22
    tensors, metadata = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["predictor"] == "student"
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensors[f"student.{name}"], tensor)
    assert not (tmp_path / "resume.pt").exists()


def test_the_monitor_changes_nothing(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=10, lr=0.1)
    data = train_set()
    with_it = run(Spy(), recipe, tmp_path / "a", monitor=Monitor(data.images, data.labels))
    without = run(Spy(), recipe, tmp_path / "b")
    for name, tensor in with_it.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name


class Counts(Spy):
    """Logs a number of its own."""

    def __init__(self, entry: dict[str, float]) -> None:
        super().__init__()
        self.entry = entry

    def epoch_log(self, ctx: kdbench.Context) -> dict[str, float]:
        return {name: value + ctx.epoch for name, value in self.entry.items()}


def test_a_method_adds_numbers_of_its_own_to_the_log(tmp_path: Path) -> None:
    run(Counts({"kept": 5}), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path)
    assert [json.loads(line)["kept"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [5.0, 6.0]


@pytest.mark.parametrize(("name", "value"), [("loss", 1.0), ("test_accuracy", 1.0), ("no name", 1.0), ("x", math.nan)])
def test_a_log_entry_that_would_mislead_is_refused(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(KdbenchError, match="epoch_log.. returned"):
        run(Counts({name: value}), Recipe(epochs=1, batch_size=10, lr=0.1), tmp_path)


def test_softmax_vectors_of_watched_images_are_kept_epoch_by_epoch_and_survive_an_interruption(tmp_path: Path) -> None:
    data = train_set()
    monitor, recipe = Monitor(data.images, data.labels), Recipe(epochs=3, batch_size=10, lr=0.1)
    student = run(Spy(), recipe, tmp_path / "whole", monitor=monitor)
    run(Spy(), recipe, tmp_path / "parts", monitor=monitor, stop_after=2)
    run(Spy(), recipe, tmp_path / "parts", monitor=monitor)
    files = [np.load(tmp_path / part / "softmax.npz") for part in ("whole", "parts")]
    assert np.array_equal(files[0]["softmax"], files[1]["softmax"])
    assert files[0]["softmax"].shape == (3, 22, 10)
    assert np.array_equal(files[0]["labels"], data.labels)
    expected = predict(student, data.images, device=CPU).softmax(1)
    np.testing.assert_allclose(files[0]["softmax"][-1], expected, atol=1e-3)


def test_at_most_a_hundred_images_are_watched_over_all_classes() -> None:
    labels = torch.arange(10).repeat_interleave(200)
    watched = Monitor(torch.empty(0), labels).watched()
    assert len(watched) == 100
    assert torch.equal(labels[watched].bincount(), torch.full((10,), 10))


def test_accuracy_under_attack_is_logged_epoch_by_epoch_and_changes_nothing(tmp_path: Path) -> None:
    """The last epoch's by hand, and the weights of a training without it, also after an interruption."""
    data, recipe = train_set(), Recipe(epochs=2, batch_size=10, lr=0.1)
    watched = Monitor(data.images, data.labels, Watch(eps=0.02, step_size=0.01, steps=2, images=11))
    plain = run(Spy(), recipe, tmp_path / "plain", monitor=Monitor(data.images, data.labels))
    run(Spy(), recipe, tmp_path / "it", monitor=watched, stop_after=1)
    student = run(Spy(), recipe, tmp_path / "it", monitor=watched)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name]), name
    entries = [json.loads(line) for line in (tmp_path / "it/log.jsonl").read_text().splitlines()]
    assert [entry["test_pgd_n"] for entry in entries] == [11, 11]
    index = stratified_subset(data.labels, 11, 0)
    images, labels = data.images[index], data.labels[index]
    examples = pgd_best_iterate(student, images, labels, eps=0.02, step_size=0.01, steps=2)
    expected = (predict(student, examples, device=CPU).argmax(1) == labels).double().mean().item()
    assert entries[-1]["test_pgd_accuracy"] == pytest.approx(expected)
    assert "test_pgd_accuracy" not in (tmp_path / "plain/log.jsonl").read_text()
