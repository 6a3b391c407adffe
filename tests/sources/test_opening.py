"""What a text names, what is put around the network, and what is refused before anything is fetched."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.hashes import state_sha256
from kdbench.models.preprocess import Preprocessed, Preprocessing
from kdbench.plugin.loader import load_plugins
from kdbench.sources import ModelRequest, ModelSource, OpenedModel, open_model
from kdbench.sources.opening import which

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
MODULE = """
    import torch
    from torch import nn


    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Flatten(), nn.Linear(3 * 16 * 16, 12))

        @classmethod
        def made(cls):
            torch.manual_seed(4)
            return cls()


    def build():
        return Net.made()


    def with_argument(width):
        return Net.made()


    kept = Net.made()
    number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working folder, another one for each test."""
    name = f"networks_of_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("text", "source", "what"),
    [
        ("timm:resnet18", "timm", "resnet18"),
        ("robustbench:cifar10/Linf/A", "robustbench", "cifar10/Linf/A"),
        ("hf:a/b@main", "hf", "a/b@main"),
        ("my_package.nets:build", "python", "my_package.nets:build"),
        ("python:timm:create", "python", "timm:create"),
        ("a/b.pt", "file", "a/b.pt"),
        ("file:timm:x", "file", "timm:x"),
        ("./timm:x", "file", "./timm:x"),
        ("x.pt2", "file", "x.pt2"),
    ],
)
def test_what_a_text_names(text: str, source: str, what: str) -> None:
    found, rest = which(text, load_plugins())
    assert (found.name, rest) == (source, what)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:", "'timm:' names no model .write timm:NAME"),
        ("robust-bench:X", "no model source named 'robust-bench' .did you mean 'robustbench'"),
        ("robustbnch:X", "no model source or module named 'robustbnch' .did you mean 'robustbench'"),
        ("tim:resnet18.a1_in1k", "no model source or module named 'tim' .did you mean 'timm'"),
        ("nowhere.pt", "no checkpoint at nowhere.pt"),
        ("nowhere.pt2", "no checkpoint at nowhere.pt2"),
        ("hf:gpt", "'gpt' names no repository of the hub .write hf:USER/REPO"),
    ],
)
def test_a_text_that_names_nothing_is_one_line(text: str, message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        open_model(text)
    assert "\n" not in str(caught.value)


def test_a_network_that_code_makes(module: str) -> None:
    torch.manual_seed(4)
    own = nn.Linear(3 * 16 * 16, 12)
    digest = state_sha256({"1.weight": own.weight, "1.bias": own.bias})
    for name in ("build", "kept", "Net.made"):
        opened = open_model(f"{module}:{name}", classes=[*"ab0123456789"], resize=16, mean="0.5", std="0.25")
        assert (opened.source, opened.sha256, opened.suite) == (f"python:{module}:{name}", digest, "digits")
        assert opened.preprocessing == Preprocessing((0.5,) * 3, (0.25,) * 3, 16, tuple("ab0123456789"))
        pixels = torch.rand(2, 3, 32, 32)
        small = nn.functional.interpolate(pixels, (16, 16), mode="bilinear", antialias=True)
        with torch.no_grad():
            assert torch.allclose(opened.network(pixels), own(((small - 0.5) / 0.25).flatten(1))[:, 2:], atol=1e-5)


def test_a_network_of_unknown_preprocessing_is_said_to_be_one(module: str) -> None:
    opened = open_model(f"{module}:build")
    assert not isinstance(opened.network, Preprocessed)
    assert opened.notes == (
        "what it expects is not known: it gets RGB in [0, 1]; --mean, --std and --resize give it others",
    )
    assert open_model(f"{module}:build", mean="none").notes == ()


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("built", "has no 'built' .write package.module:build"),
        ("number", "is a int .name a function without arguments"),
        ("Net.add_module.x", "has no 'Net.add_module.x'"),
    ],
)
def test_code_that_gives_no_network_is_one_line(module: str, attribute: str, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        open_model(f"{module}:{attribute}")


def test_what_the_users_own_code_raises_passes(module: str) -> None:
    with pytest.raises(TypeError, match="width"):
        open_model(f"{module}:with_argument")


def pixel_model() -> models.PixelModel:
    return models.create("wrn-10-1", num_classes=10, normalisation=CIFAR, seed=2).eval()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("suite", ["digits", "cifar10-lite"])
def test_a_file_with_its_normalisation_keeps_it(tmp_path: Path, suite: str, suffix: str) -> None:
    original, path = pixel_model(), tmp_path / f"a.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": original.state_dict(), "epoch": 3}, path)
    else:
        from safetensors.torch import save_file

        save_file(original.state_dict(), path)
    opened = open_model(str(path), suite=suite, model="wrn-10-1")
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(opened.network.eval()(pixels), original(pixels), atol=1e-5)
    assert opened.complete
    with pytest.raises(KdbenchError, match="normalises its pixels by itself"):
        open_model(str(path), suite=suite, model="wrn-10-1", mean="imagenet")


@pytest.mark.parametrize(
    ("mean", "std", "applied"),
    [(None, None, CIFAR), ("none", None, None), ("0.5", "0.25", ((0.5,) * 3, (0.25,) * 3))],
)
def test_bare_weights_get_the_suites_normalisation_or_the_one_asked_for(
    tmp_path: Path, mean: str | None, std: str | None, applied: tuple[tuple[float, ...], ...] | None
) -> None:
    bare = pixel_model().network
    torch.save(bare.state_dict(), tmp_path / "a.pt")
    opened = open_model(str(tmp_path / "a.pt"), suite="cifar10-lite", model="wrn-10-1", mean=mean, std=std)
    assert opened.preprocessing is not None
    assert opened.preprocessing.normalisation == applied
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        given = pixels if applied is None else models.Normalize(*applied)(pixels)
        assert torch.allclose(opened.network.eval()(pixels), bare(given), atol=1e-5)


def test_weights_of_more_classes_than_the_data_are_put_in_order_by_name(tmp_path: Path) -> None:
    bare = models.create("wrn-10-1", num_classes=12, seed=2).network.eval()
    torch.save(bare.state_dict(), tmp_path / "a.pt")
    opened = open_model(str(tmp_path / "a.pt"), suite="digits", model="wrn-10-1", classes="9,8,7,6,5,4,3,2,1,0,x,y")
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(opened.network.eval()(pixels), bare(pixels)[:, :10].flip(1), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "wrn-10-1"}, "source 'timm' takes no --model .omit --model"),
        ({"params": {"a": 1}}, "source 'timm' takes no --set"),
        ({"weights": "ema"}, "source 'timm' takes no --weights"),
        ({"resize": 0}, "--resize got 0, expected 1 to 2048"),
        ({"mean": "0.5"}, "--mean was given without --std"),
        ({"classes": "a"}, "--classes got 'a'"),
        ({"suite": "digitz"}, "no suite named 'digitz'"),
        ({"suite": "digits", "classes": "a,b"}, "no class of the model named '0'"),
    ],
)
def test_mistakes_are_found_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.setattr("kdbench.sources.hub.fetch", None)
    with pytest.raises(KdbenchError, match=message):
        open_model("timm:resnet18", **options)  # type: ignore[arg-type]  # a table


class Third(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1)[:, :10]


def test_a_third_partys_source(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def open_shelf(what: str, request: ModelRequest) -> OpenedModel:
        asked.append((what, request.place.download))
        known = kdbench.Preprocessing((0.5,) * 3, (0.5,) * 3, classes=tuple("9876543210"))
        return OpenedModel(Third(), f"shelf:{what}@1", "0" * 64, dataset="digits", preprocessing=known)

    plugins = load_plugins.__wrapped__()
    plugins.model_sources.add("shelf", ModelSource("shelf", open_shelf, "a shelf", "shelf:NAME"), "test")
    monkeypatch.setattr("kdbench.sources.opening.load_plugins", lambda: plugins)
    opened = open_model("shelf:third", download=False)
    assert (opened.source, opened.suite, asked) == ("shelf:third@1", "digits", [("third", False)])
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.allclose(opened.network(pixels), ((pixels.flatten(1)[:, :10] - 0.5) / 0.5).flip(1), atol=1e-6)


def test_what_a_record_keeps_opens_the_same_model_again(tmp_path: Path) -> None:
    bare = models.create("wrn-10-1", num_classes=12, seed=2).network
    torch.save({"model": bare.state_dict(), "ema": bare.state_dict()}, tmp_path / "a.pt")
    options = {"mean": "0.5", "std": [0.25, 0.5, 0.75], "resize": 40, "classes": "9,8,7,6,5,4,3,2,1,0,x,y"}
    opened = open_model(str(tmp_path / "a.pt"), suite="digits", model="wrn-10-1", weights="model", **options)  # type: ignore[arg-type]  # a table
    kept = opened.evaluated()
    assert (kept.source, kept.architecture, kept.weights, kept.sha256) == (
        "a.pt", "wrn-10-1", "model", file_sha256(tmp_path / "a.pt"),
    )  # fmt: skip
    asked = json.loads(json.dumps(kept.preprocessing["asked"]))
    again = open_model(
        str(tmp_path / kept.source), suite="digits", model=kept.architecture, weights=kept.weights, **asked
    )
    assert again.preprocessing == opened.preprocessing
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.network(pixels), opened.network(pixels))
