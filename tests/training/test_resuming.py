from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.specs import Recipe
from tests.training.spies import RECIPE, Peers, Spy, make_tiny, run


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=10, lr=0.1)
    whole = run(Spy(), recipe, tmp_path / "whole")
    run(Spy(), recipe, tmp_path / "parts", stop_after=1)
    assert (tmp_path / "parts/resume.pt").exists()
    assert not (tmp_path / "parts/checkpoint.safetensors").exists()
    spy = Spy()
    resumed = run(spy, recipe, tmp_path / "parts")
    assert spy.calls[0] == "epoch 1"
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_damaged_resume_state_starts_over_with_a_word(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=10, lr=0.1)
    run(Spy(), recipe, tmp_path, stop_after=1)
    path = tmp_path / "resume.pt"
    path.write_bytes(path.read_bytes()[:100])
    spy = Spy()
    with pytest.warns(UserWarning, match="is damaged .* training starts over"):
        run(spy, recipe, tmp_path)
    assert spy.calls[0] == "epoch 0"


def test_a_resume_state_of_another_training_is_not_taken_up(tmp_path: Path) -> None:
    run(Spy(), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path, stop_after=1)
    spy = Spy()
    run(spy, Recipe(epochs=2, batch_size=10, lr=0.2), tmp_path)
    assert spy.calls[0] == "epoch 0"


class Rampant(Spy):
    """Draws on progress at the start of an epoch, and keeps a memory on the device."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.scale, self.memory = 0.0, torch.zeros(ctx.train_size, device=ctx.device)

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.scale = 1 + ctx.progress + ctx.step

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return super().loss(batch, ctx) * self.scale


def test_progress_at_the_start_of_an_epoch_survives_a_resume(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=10, lr=0.01)
    whole = run(Rampant(), recipe, tmp_path / "whole")
    run(Rampant(), recipe, tmp_path / "parts", stop_after=2)
    resumed = run(Rampant(), recipe, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_interrupted_peers_end_with_the_same_weights(tmp_path: Path) -> None:
    run(Peers(), RECIPE, tmp_path / "whole", build=make_tiny)
    run(Peers(), RECIPE, tmp_path / "parts", build=make_tiny, stop_after=1)
    run(Peers(), RECIPE, tmp_path / "parts", build=make_tiny)
    whole, parts = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
