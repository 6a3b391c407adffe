"""A whole run on a device: trained, interrupted, measured, recorded; and networks that move between devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kdbench
from kdbench.devices import CPU
from kdbench.files import write_atomically
from kdbench.inference.prediction import predict
from kdbench.running.loading import load_predictor
from kdbench.running.runner import record_path
from kdbench.training.checkpoint import load_checkpoint, load_resume, resume_bytes, save_checkpoint
from tests.accelerator.share import share
from tests.conftest import SMALL_SUITE

SUITE = SMALL_SUITE.replace("epochs = 2", 'epochs = 1\nprecision = "float32"').replace("steps = [1]", "steps = [2]")
SUITE += "\n[tasks.clean]\n"


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.mark.parametrize(("method", "tasks"), share([("ce", ["clean"]), ("kd", None)], [("ce", ["clean"])]), ids=str)
def test_a_run_on_a_device_agrees_with_one_on_the_cpu(
    accelerator: torch.device, suite: str, tmp_path: Path, method: str, tasks: list[str] | None
) -> None:
    out = tmp_path / "runs"
    runs: dict[str, Any] = {
        device: kdbench.run(suite, method, device=device, out=out, tasks=tasks) for device in ("accel", "cpu")
    }
    found, expected = runs["accel"], runs["cpu"]
    assert (found.provenance.device, found.provenance.device_name) == ("accel", "pretend accelerator")
    assert found.run_id != expected.run_id  # trained on another device, which may round otherwise
    for score, other in zip(found.scores, expected.scores, strict=True):
        assert (score.metric, score.setting) == (other.metric, other.setting)
        assert score.value == pytest.approx(other.value, abs=0.02)
    checkpoints = [record_path(run, out).parent / "checkpoint-clean.safetensors" for run in runs.values()]
    (one, metadata), (other, _) = (load_checkpoint(path) for path in checkpoints)
    assert metadata["training"]["device"] == "accel"
    for name, tensor in other.items():
        np.testing.assert_allclose(one[name].numpy(), tensor.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    here, there = (
        predict(load_predictor(checkpoints[0], device=device), images, device=device) for device in (CPU, accelerator)
    )
    np.testing.assert_allclose(there.numpy(), here.numpy(), atol=1e-4)


def test_a_checkpoint_and_a_resume_state_of_a_device_are_read_on_the_cpu(
    accelerator: torch.device, tmp_path: Path
) -> None:
    tensor = torch.arange(6.0).view(2, 3)
    save_checkpoint(tmp_path / "one.safetensors", {"a": tensor.to(accelerator)}, {})
    loaded, _ = load_checkpoint(tmp_path / "one.safetensors")
    assert loaded["a"].device == CPU
    assert torch.equal(loaded["a"], tensor)
    write_atomically(tmp_path / "resume.pt", resume_bytes({"a": tensor.to(accelerator), "n": 3}))
    state = load_resume(tmp_path / "resume.pt")
    assert state is not None and state["n"] == 3
    assert state["a"].device == CPU
    assert torch.equal(state["a"], tensor)
