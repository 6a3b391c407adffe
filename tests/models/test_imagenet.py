from __future__ import annotations

import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn

from kdbench.errors import KdbenchError
from kdbench.models import create, inception_resnet_v2, resnet50_imagenet

WEIGHTS = "resnet50-0676ba61.pth"
"""The file of torchvision's ResNet50_Weights.IMAGENET1K_V1 in torch's hub folder."""


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        assert count(resnet50_imagenet(num_classes=50)) == 23_610_482
        assert count(resnet50_imagenet(num_classes=101)) == 23_714_981
        assert count(inception_resnet_v2(num_classes=50)) == 54_383_314


def test_biases_start_at_zero() -> None:
    for name in ("resnet50-imagenet", "inception-resnet-v2"):
        modules = list(create(name, num_classes=5).modules())
        biases = [m.bias for m in modules if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None]
        assert biases and not any(bias.any() for bias in biases)


def test_the_seed_decides_the_weights_of_inception() -> None:
    first, same, other = (create("inception-resnet-v2", num_classes=5, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["network.conv2d_1a.conv.weight"], other["network.conv2d_1a.conv.weight"])


def test_libraries_are_imported_by_the_build_alone() -> None:
    code = (
        "import sys, kdbench.models as m; m.builtin_specs(); sys.exit(bool({'timm', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub folder, and no network."""

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_pretrained_weights_fill_all_but_the_last_layer(hub: Path) -> None:
    stored = create("resnet50-imagenet", num_classes=1000, seed=9).network.state_dict()
    torch.save({name: value.half() if value.dim() == 4 else value for name, value in stored.items()}, hub / WEIGHTS)
    plain = create("resnet50-imagenet", num_classes=5, seed=1).network.state_dict()
    found = create("resnet50-imagenet", num_classes=5, seed=1, pretrained=True).network.state_dict()
    for name, value in found.items():
        expected = plain[name] if name.startswith("fc.") else stored[name]
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-6)
    assert not torch.equal(found["conv1.weight"], plain["conv1.weight"])


def test_pretrained_weights_that_cannot_be_had(hub: Path) -> None:
    assert resnet50_imagenet(num_classes=5) is not None  # nothing is downloaded unasked
    with pytest.raises(KdbenchError, match=r"resnet50-0676ba61\.pth: .*no route") as caught:
        resnet50_imagenet(num_classes=5, pretrained=True)
    assert str(hub / WEIGHTS) in caught.value.hint
    (hub / WEIGHTS).write_bytes(b"not a checkpoint")
    with pytest.raises(KdbenchError, match="can't be had") as caught:
        create("resnet50-imagenet", num_classes=5, pretrained=True)
    assert "\n" not in caught.value.message
    with pytest.raises(KdbenchError, match="no pretrained weights"):
        create("inception-resnet-v2", num_classes=5, pretrained=True)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(KdbenchError, match="'inception-resnet-v2' needs the package timm, which is not") as caught:
        inception_resnet_v2(num_classes=5)
    assert caught.value.hint == "`pip install 'kdbench[timm]'`"
