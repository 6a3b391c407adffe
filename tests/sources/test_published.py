"""Models of torchvision, timm and the hub, with random weights in the places where the published ones are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdbench import models
from kdbench.data import DatasetSpec
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.models.preprocess import Preprocessing
from kdbench.plugin.loader import load_plugins
from kdbench.sources import open_model
from tests.conftest import TINY_SUITE
from tests.sources.conftest import COMMIT, Web

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TERRIERS = ("Airedale", "Irish terrier", "African grey")


@pytest.fixture
def terriers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A suite whose data set has three classes of ImageNet by name; its images are never read."""
    plugins = load_plugins.__wrapped__()
    plugins.datasets.add("terriers", DatasetSpec("terriers", TERRIERS, 32, lambda place: pytest.fail("read")), "test")
    for module in ("sources.opening", "suites"):
        monkeypatch.setattr(f"kdbench.{module}.load_plugins", lambda: plugins)
    path = tmp_path / "terriers.toml"
    path.write_text(TINY_SUITE.replace('dataset = "digits"', 'dataset = "terriers"'))
    return str(path)


def random_weights(network: nn.Module, path: Path) -> nn.Module:
    """Save a network's random weights, made again so that all are other than a fresh network's."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(3)) * 0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)
    return network.eval()


def same(opened: nn.Module, original: nn.Module, preprocessing: Preprocessing, columns: list[int]) -> bool:
    """Whether ``opened`` is ``original`` behind this preprocessing, computed step by step."""
    pixels = torch.rand(2, 3, 32, 32)
    given = pixels
    if preprocessing.resize:
        given = nn.functional.interpolate(given, (preprocessing.resize,) * 2, mode="bilinear", antialias=True)
    if preprocessing.normalisation:
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in preprocessing.normalisation)
        given = (given - mean) / std
    with torch.no_grad():
        return torch.allclose(opened.eval()(pixels), original(given)[:, columns], atol=1e-4)


def test_torchvisions_weights_by_name(terriers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision = pytest.importorskip("torchvision.models")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = torchvision.SqueezeNet1_1_Weights.IMAGENET1K_V1
    file = tmp_path / "hub" / "checkpoints" / published.url.rpartition("/")[2]
    with pytest.raises(KdbenchError, match="the weights of squeezenet1_1 are not at .*downloads are off"):
        open_model("torchvision:squeezenet1_1", suite=terriers, download=False)
    original = random_weights(torchvision.squeezenet1_1(weights=None), file)
    for name in ("squeezenet1_1", "squeezenet1_1.IMAGENET1K_V1"):
        opened = open_model(f"torchvision:{name}", suite=terriers, download=False)
        assert opened.source == "torchvision:squeezenet1_1.IMAGENET1K_V1"
        assert opened.sha256 == file_sha256(file)
        names = published.meta["categories"]
        assert opened.preprocessing == Preprocessing(MEAN, STD, 224, tuple(names))
        columns = [names.index(name) for name in TERRIERS]
        assert same(opened.network, original, opened.preprocessing, columns)
    file.write_bytes(b"no weights")
    with pytest.raises(KdbenchError, match="pretrained weights can't be had from .*squeezenet1_1"):
        open_model("torchvision:squeezenet1_1", suite=terriers, download=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:resnet81", "no model of torchvision named 'resnet81' .did you mean 'resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no model of torchvision named"),
        ("torchvision:resnet50.V2", "no weights of torchvision's resnet50 named 'V2' .*IMAGENET1K_V2"),
        ("torchvision:resnet18", "no class of the model named '0'"),
        ("timm:resnet81", "no model of timm named 'resnet81' .did you mean"),
        ("timm:hf-hub:a/b", "is a repository of the hub .write hf:a/b"),
        ("timm:resnet18.nobody", "no model of timm named 'resnet18.nobody'"),
    ],
)
def test_a_name_that_nobody_published_is_one_line(source: str, message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        open_model(source, suite="digits", download=False)
    assert "\n" not in str(caught.value)


def test_timms_weights_by_name(terriers: str, hub: Web) -> None:
    timm = pytest.importorskip("timm")
    name, repository = "test_vit.r160_in1k", "timm/test_vit.r160_in1k"
    with pytest.raises(KdbenchError, match="model.safetensors of timm/test_vit.* it is not in the cache"):
        open_model(f"timm:{name}", suite=terriers, download=False)
    original = random_weights(timm.create_model("test_vit"), hub.folder / repository / "model.safetensors")
    names = ",".join([*TERRIERS, *(str(number) for number in range(997))])
    for download in (True, False):
        opened = open_model("timm:test_vit", suite=terriers, classes=names, download=download)
        assert opened.source == f"timm:{name}"
        assert opened.sha256 == file_sha256(hub.folder / repository / "model.safetensors")
        assert opened.preprocessing is not None
        assert opened.preprocessing.resize == 160
        assert same(opened.network, original, opened.preprocessing, [0, 1, 2])
    assert len(hub.asked) == 1


def timm_repository(hub: Web, name: str = "net", **facts: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    folder = hub.folder / "someone" / name
    original = random_weights(timm.create_model("test_vit", num_classes=10, img_size=32), folder / "model.safetensors")
    config = {"architecture": "test_vit", "num_classes": 10, "model_args": {"img_size": 32}, **facts}
    (folder / "config.json").write_text(json.dumps(config))
    return original


def test_a_repository_of_timm_on_the_hub(hub: Web) -> None:
    cfg = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 32, 32]}
    original = timm_repository(hub, pretrained_cfg=cfg, label_names=list("9876543210"))
    for asked, download in (("someone/net", True), ("someone/net@main", False), (f"someone/net@{COMMIT}", False)):
        opened = open_model(f"hf:{asked}", suite="digits", download=download)
        assert opened.source == f"hf:someone/net@{COMMIT}"
        assert opened.sha256 == file_sha256(hub.folder / "someone/net/model.safetensors")
        assert opened.preprocessing == Preprocessing((0.5,) * 3, (0.25,) * 3, None, tuple("9876543210"))
        assert same(opened.network, original, opened.preprocessing, list(range(9, -1, -1)))


def test_a_repository_of_bare_weights_wants_its_architecture(hub: Web) -> None:
    folder = hub.folder / "someone" / "bare"
    original = random_weights(models.create("wrn-10-1", num_classes=10).network, folder / "model.safetensors")
    random_weights(models.create("wrn-10-1", num_classes=10).network, folder / "other.safetensors")
    with pytest.raises(KdbenchError, match="name its architecture with --model"):
        open_model("hf:someone/bare")
    for asked in ("someone/bare", "someone/bare/other.safetensors"):
        opened = open_model(f"hf:{asked}", model="wrn-10-1", mean="0.5", std="0.25")
        assert opened.source == f"hf:{asked}@{COMMIT}"
        assert opened.preprocessing is not None
        assert same(opened.network, original, opened.preprocessing, list(range(10)))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("nobody/net", "config.json of nobody/net can't be had from the hub: .*check its name"),
        ("someone/net@v2", "config.json of someone/net@v2 can't be had from the hub"),
        ("someone/net/other.safetensors", "repository someone/net has no other.safetensors"),
        ("net", "'net' names no repository"),
    ],
)
def test_a_repository_that_is_not_there_is_one_line(hub: Web, asked: str, message: str) -> None:
    (hub.folder / "someone" / "net").mkdir(parents=True)
    with pytest.raises(KdbenchError, match=message) as caught:
        open_model(f"hf:{asked}")
    assert "\n" not in str(caught.value)


def test_a_repository_whose_weights_are_of_another_network(hub: Web) -> None:
    timm_repository(hub, num_classes=7)
    with pytest.raises(KdbenchError, match="is of another architecture"):
        open_model("hf:someone/net")
    timm_repository(hub, "new", architecture="a_net_of_tomorrow")
    with pytest.raises(KdbenchError, match="'a_net_of_tomorrow', which timm has not .upgrade timm"):
        open_model("hf:someone/new/model.safetensors", suite="digits")


def test_a_classifier_of_transformers(hub: Web) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=10,
        id2label={number: str(9 - number) for number in range(10)},
    )  # fmt: skip
    original = transformers.ResNetForImageClassification(config).eval()
    folder = hub.folder / "someone" / "tf"
    original.save_pretrained(folder, safe_serialization=True)
    facts = {"do_resize": True, "size": {"height": 48, "width": 48}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    opened = open_model("hf:someone/tf", suite="digits")
    assert opened.preprocessing == Preprocessing(MEAN, STD, 48, tuple("9876543210"))

    class Logits(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return original(pixels).logits  # type: ignore[no-any-return]  # not typed

    assert same(opened.network, Logits(), opened.preprocessing, list(range(9, -1, -1)))


def test_transformers_is_named_where_it_is_missing(hub: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    folder = hub.folder / "someone" / "tf"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        KdbenchError, match="needs the package transformers, which is not installed .*pip install transformers"
    ):
        open_model("hf:someone/tf")
