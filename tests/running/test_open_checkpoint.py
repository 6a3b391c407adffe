from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.running.evaluation import open_checkpoint
from kdbench.suites import load_suite


def trained_elsewhere(name: str = "wrn-10-1") -> models.PixelModel:
    """A network with the CIFAR-10 suites' normalisation inside and batch statistics that are not the initial ones."""
    suite = load_suite("cifar10-lite")
    assert suite.mean is not None
    assert suite.std is not None
    network = models.create(name, num_classes=10, normalisation=(suite.mean, suite.std), seed=5)
    network.train()
    with torch.no_grad():
        network(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.mark.parametrize("form", ["bare", "pixel"])
@pytest.mark.parametrize("suffix", ["pt", "state_dict.pth", "safetensors"])
def test_a_plain_state_dict_opens_with_its_models_name(tmp_path: Path, form: str, suffix: str) -> None:
    original = trained_elsewhere()
    state = (original.network if form == "bare" else original).state_dict()
    path = tmp_path / f"a.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "state_dict" in suffix else state, path)
    opened, suite, condition = open_checkpoint(path, suite="cifar10-lite", model="wrn-10-1")
    assert (suite, condition) == ("cifar10-lite", None)
    assert not any(module.training for module in opened.modules())
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mean, std = (np.array(part)[None, :, None, None] for part in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    with torch.no_grad():
        expected = original.network(torch.from_numpy((pixels.numpy() - mean) / std).float())
        assert torch.allclose(opened(pixels), expected, atol=1e-4)


def test_a_plain_state_dict_is_measured_on_digits_unless_told_otherwise(tmp_path: Path) -> None:
    original = models.create("wrn-10-1", num_classes=10, seed=5).eval()
    torch.save(original.state_dict(), tmp_path / "a.pt")
    opened, suite, _ = open_checkpoint(tmp_path / "a.pt", model="wrn-10-1")
    assert suite == "digits"
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(opened(pixels), original(pixels), atol=1e-4)


def test_another_architecture_is_told_in_one_line(tmp_path: Path) -> None:
    torch.save(trained_elsewhere("wrn-16-1").state_dict(), tmp_path / "a.pt")
    with pytest.raises(KdbenchError, match="a.pt is of another architecture: .* tensors differ, such as ") as caught:
        open_checkpoint(tmp_path / "a.pt", suite="cifar10-lite", model="wrn-10-1")
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_another_architecture(tmp_path: Path) -> None:
    torch.save(models.create("wrn-10-1", num_classes=7).network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(KdbenchError, match=r"another architecture: 2 of .*found \(7,\), expected \(10,\)"):
        open_checkpoint(tmp_path / "a.pt", suite="cifar10-lite", model="wrn-10-1")


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_checkpoints_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in trained_elsewhere().state_dict().items()}
    save_file(state, tmp_path / "plain.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "plain.safetensors").read_bytes()[:5000])
    torch.save({**state, "x": Payload(tmp_path / "trap")}, tmp_path / "code.pt")
    cases: list[tuple[str, str | None, str]] = [
        ("plain.safetensors", None, "is a plain state dict .name its architecture with --model"),
        ("plain.safetensors", "wrn-10-3", "no model named 'wrn-10-3' .did you mean 'wrn-10-1'"),
        ("cut.safetensors", "wrn-10-1", "cut.safetensors is damaged"),
        ("cut.safetensors", None, "cut.safetensors is damaged"),
        ("code.pt", "wrn-10-1", "code.pt holds more than tensors"),
        ("code.pt", None, "code.pt holds more than tensors"),
        ("missing.pt", "wrn-10-1", "no checkpoint at .*missing.pt"),
    ]
    for name, model, message in cases:
        with pytest.raises(KdbenchError, match=message) as caught:
            open_checkpoint(tmp_path / name, suite="cifar10-lite", model=model)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trap").exists()
