"""A method that changes what all share fails itself, and its neighbours train and measure what they would alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.results.record import Record
from kdbench.running.runner import run
from kdbench.shared_state import SharedState, SharedStateError


class Careless(kdbench.Method):
    """Cross-entropy that sets torch's default dtype and replaces the loss of everybody at one stage."""

    stage = ""

    def __init__(self) -> None:
        self._at("__init__")

    def _at(self, stage: str) -> None:
        if stage == Careless.stage:
            torch.set_default_dtype(torch.float64)
            functional: Any = nn.functional
            functional.cross_entropy = lambda logits, labels: logits.float().mean()

    def setup(self, ctx: kdbench.Context) -> None:
        self._at("setup")

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        self._at("loss")
        logits: Tensor = ctx.student(batch.images)
        return logits.float().logsumexp(1).mean()

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        self._at("predictor")
        return ctx.student


def attempt(suite: Path, method: str, out: Path) -> Record:
    return run(str(suite), method, tasks=["clean"], conditions=["clean"], out=out)


def test_one_whose_constructor_does_it_is_refused(
    tiny_suite: Path, tmp_path: Path, staged: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.methods.add("careless", kdbench.method("careless")(Careless), "test")
    monkeypatch.setattr(Careless, "stage", "__init__")
    before = SharedState.take()
    with pytest.raises(KdbenchError, match="method 'careless', or one that it needs, changed .* default dtype"):
        attempt(tiny_suite, "careless", tmp_path / "runs")
    assert before.undo() == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("stage", ["setup", "loss", "predictor"])
def test_it_is_named_and_nothing_of_it_is_kept(
    tiny_suite: Path, tmp_path: Path, staged: Plugins, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.methods.add("careless", kdbench.method("careless")(Careless), "test")
    monkeypatch.setattr(Careless, "stage", stage)
    before = SharedState.take()
    record = attempt(tiny_suite, "careless", tmp_path)
    assert record.status == "failed"
    assert record.error is not None
    assert "method 'careless' changed what all code of the process shares: torch's default dtype" in record.error
    assert "torch.nn.functional.cross_entropy was replaced" in record.error
    assert before.undo() == []
    assert not list(tmp_path.rglob("checkpoint*.safetensors")) and not list(tmp_path.rglob("resume.pt"))


def test_a_neighbour_has_the_weights_that_it_has_alone(
    tiny_suite: Path, tmp_path: Path, staged: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged.methods.add("careless", kdbench.method("careless")(Careless), "test")
    monkeypatch.setattr(Careless, "stage", "loss")
    alone = attempt(tiny_suite, "ce", tmp_path / "alone")
    attempt(tiny_suite, "careless", tmp_path / "both")
    beside = attempt(tiny_suite, "ce", tmp_path / "both")
    assert beside.hashes.students["clean"].sha256 == alone.hashes.students["clean"].sha256
    assert beside.scores == alone.scores


class Forward(nn.Module):
    """Sets torch's threads."""

    def forward(self, images: Tensor) -> Tensor:
        torch.set_num_threads(3)
        return images.flatten(1)[:, :10]


def test_a_network_that_does_it_while_it_is_measured_is_named(tiny_suite: Path) -> None:
    before = SharedState.take()
    with pytest.raises(SharedStateError, match="the network that .* measured.* changed .* torch's threads"):
        kdbench.evaluate(Forward(), suite=str(tiny_suite), tasks=["clean"])
    assert before.undo() == []
