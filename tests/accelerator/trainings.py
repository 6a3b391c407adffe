"""What each step of a training reads back from the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.running.trial import tiny_network
from kdbench.testing import Reads, _Trial, counted_reads
from kdbench.training.loop import TrainingRun


def one_epoch(method: MethodSpec, device: torch.device) -> None:
    """Train a tiny network for three steps."""
    trial = _Trial(method, method.validate({}), 10, device)
    TrainingRun(trial._spec(0), method.make({}), tiny_network(10, 0), trial.data, {}, device, None).epoch(0)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Reads]:
    """What each step of the trainings that follow reads, its batch included."""
    steps: list[Reads] = []
    make_batch, make_step = TrainingRun._batch, TrainingRun._step

    def batch(run: TrainingRun, index: Tensor) -> Any:
        steps.append(Reads())
        with counted_reads() as reads:
            made = make_batch(run, index)
        steps[-1].places.update(reads.places)
        return made

    def step(run: TrainingRun, given: Any) -> Tensor:
        with counted_reads() as reads:
            loss = make_step(run, given)
        steps[-1].places.update(reads.places)
        return loss

    monkeypatch.setattr(TrainingRun, "_batch", batch)
    monkeypatch.setattr(TrainingRun, "_step", step)
    return steps


def reads_of_an_epoch(device: torch.device, batch_size: int) -> int:
    """With cross-entropy, the loop about the steps included."""
    method = load_plugins().methods.get("ce")
    trial = _Trial(method, method.validate({}), 10, device)
    spec = trial._spec(0)
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"batch_size": batch_size})})
    run = TrainingRun(spec, method.make({}), tiny_network(10, 0), trial.data, {}, device, None)
    with counted_reads() as reads:
        run.epoch(0)
    return reads.total
