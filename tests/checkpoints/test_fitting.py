"""Weights into networks: by their own names, by those of other implementations, and what doesn't fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import models
from kdbench.checkpoints import Weights, fit_to, fitting_architectures
from kdbench.checkpoints.names import common_names
from kdbench.errors import KdbenchError
from tests.checkpoints import foreign

PIXELS = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def weights(state: dict[str, Tensor]) -> Weights:
    return Weights(Path("a.pth"), "0", state, None, (), ())


def answers(network: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network.eval()(PIXELS)
    return logits


def timm_resnet18() -> nn.Module:
    network: Any = foreign.library("timm").create_model("resnet18", num_classes=10)
    network.conv1, network.maxpool = foreign.conv(3, 64), nn.Identity()
    return network  # type: ignore[no-any-return]


FOREIGN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torchvision, ResNet-18": (lambda: foreign.torchvision_resnet(18), "resnet18"),
    "torchvision, ResNet-50": (lambda: foreign.torchvision_resnet(50), "resnet50"),
    "timm, ResNet-18": (timm_resnet18, "resnet18"),
    "kuangliu, ResNet-18": (foreign.Kuangliu, "resnet18"),
    "kuangliu, PreActResNet-18 with all its batch norms": (foreign.KuangliuPreAct, "preact18"),
    "weiaicunzai, ResNet-18": (foreign.Weiaicunzai, "resnet18"),
    "xternalz, WRN-16-2": (foreign.Xternalz, "wrn-16-2"),
    "TRADES, WRN-16-2": (lambda: foreign.Xternalz(unused=True), "wrn-16-2"),
    "szagoruyko, WRN-16-2": (lambda: foreign.Szagoruyko(foreign.Xternalz()), "wrn-16-2"),
    "hysts, WRN-16-2": (foreign.Hysts, "wrn-16-2"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_ours_answers_what_the_network_that_was_trained_answers(name: str) -> None:
    build, ours = FOREIGN[name]
    theirs = foreign.trained(build())
    network = models.create(ours, num_classes=10)
    notes = fit_to(network, weights(theirs.state_dict()))
    assert torch.allclose(answers(network), answers(theirs), atol=1e-5)
    assert notes[0].startswith("names translated, as conv")
    assert notes[1:] == (("left out: sub_block1, which its network never uses",) if "TRADES" in name else ())


def test_ours_fits_theirs_as_well() -> None:
    ours, theirs = models.create("resnet18", num_classes=10, seed=3), foreign.torchvision_resnet(18)
    fit_to(theirs, weights(ours.state_dict()))
    assert torch.allclose(answers(theirs), answers(ours), atol=1e-5)


MISFITS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "ImageNet's stem": (
        lambda: foreign.library("torchvision.models").resnet18(num_classes=10), "resnet18",
        "its first convolution is 7x7, expected 3x3 (name the right one with --model)",
    ),
    "another depth": (
        foreign.Kuangliu, "resnet34",
        "it has residual blocks 2x64 2x128 2x256 2x512, expected 3x64 4x128 6x256 3x512 (number x width) "
        "(name the right one with --model)",
    ),
    "another width": (
        foreign.Xternalz, "wrn-16-1",
        "it has residual blocks 2x32 2x64 2x128, expected 2x16 2x32 2x64 (number x width) "
        "(name the right one with --model)",
    ),
    "batch norm at other places": (
        foreign.Kuangliu, "preact18",
        "it is a ResNet, batch norm behind convolutions, expected a PreActResNet, before them "
        "(name the right one with --model)",
    ),
    "no batch norm at the end": (
        lambda: foreign.KuangliuPreAct(last_bn=False), "preact18",
        "it has no batch norm outside of blocks (name the right one with --model)",
    ),
    "no batch norm in shortcuts": (
        lambda: foreign.KuangliuPreAct(shortcut_bn=False), "preact18",
        "it has no batch norm in shortcuts (name the right one with --model)",
    ),
    "names of another kind": (
        lambda: foreign.library("torchvision.models").alexnet(num_classes=10), "resnet18",
        "none of its 16 names is known, the first is features.0.weight, expected stem.weight "
        "(name the right one with --model)",
    ),
    "another number of classes": (
        lambda: models.create("wrn-16-2", num_classes=100), "wrn-16-2",
        "it has 100 classes, expected 10 (measure it with a suite whose data set has as many)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(name: str) -> None:
    build, ours, sentence = MISFITS[name]
    network = models.create(ours, num_classes=10, seed=7)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(KdbenchError) as caught:
        fit_to(network, weights(build().state_dict()))
    assert str(caught.value) == f"checkpoint a.pth is of another architecture: {sentence}"
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_biases_that_ours_lacks_are_told() -> None:
    network: Any = foreign.Xternalz()
    network.block1.layer[0].conv1 = nn.Conv2d(16, 32, 3, padding=1)
    with pytest.raises(KdbenchError, match="it has biases of convolutions too many"):
        fit_to(models.create("wrn-16-2", num_classes=10), weights(network.state_dict()))


@pytest.mark.parametrize("change", ["less", "more", "shape"])
def test_a_single_tensor_that_differs_is_named(change: str) -> None:
    network = models.create("wrn-10-1", num_classes=10)
    state = dict(network.network.state_dict())
    message = {
        "less": r"it has no batch norm outside of blocks",
        "more": r"it has blocks.0.mystery.weight too many",
        "shape": r"1 of other shapes, such as block 0 norm 1 bias \(found \(3,\), expected \(16,\)\)",
    }[change]
    if change == "less":
        del state["bn.running_var"]
    else:
        state["blocks.0.mystery.weight" if change == "more" else "blocks.0.bn2.bias"] = torch.ones(3)
    with pytest.raises(KdbenchError, match=message):
        fit_to(network, weights(state))


@pytest.mark.parametrize(
    ("part", "message"),
    [("weight_mask", "is pruned by masks"), ("parametrizations.weight.original0", "has parametrized weights"),
     ("weight_g", "has weight normalisation"), ("weight_u", "has spectral normalisation")],
)  # fmt: skip
def test_weights_that_are_not_there_as_they_are_used_say_what_to_do(part: str, message: str) -> None:
    with pytest.raises(KdbenchError, match=f"checkpoint a.pth {message} .torch.nn.utils"):
        fit_to(models.create("wrn-10-1", num_classes=10), weights({f"stem.{part}": torch.ones(3, 3)}))


def test_a_networks_own_names_need_no_words() -> None:
    one, other = (models.create("wrn-10-1", num_classes=10, seed=seed) for seed in (0, 1))
    assert fit_to(other, weights(one.state_dict())) == ()
    assert fit_to(other, weights(one.network.state_dict())) == ()
    assert torch.equal(answers(one), answers(other))


def test_a_network_with_any_names_takes_its_own_weights() -> None:
    def build() -> nn.Module:
        return nn.Sequential(OrderedDict(model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))))

    one, other = build(), build()
    stripped = {name.removeprefix("model."): tensor for name, tensor in one.state_dict().items()}
    for state in (one.state_dict(), stripped):
        other = build()
        assert fit_to(other, weights(dict(state))) == ()
        assert torch.equal(answers(one), answers(other))


class Counting(nn.Linear):
    """A layer that keeps more than tensors in its state dict."""

    def get_extra_state(self) -> object:
        return {"seen": 3}

    def set_extra_state(self, state: Any) -> None:
        self.seen = state["seen"]


def test_a_networks_extra_state_stays_its_own() -> None:
    one, other = (nn.Sequential(nn.Flatten(), Counting(3072, 10)) for _ in range(2))
    state = {name: tensor for name, tensor in one.state_dict().items() if isinstance(tensor, Tensor)}
    assert fit_to(other, weights(state)) == ()
    assert torch.equal(answers(one), answers(other))


def test_counts_of_batches_may_be_missing() -> None:
    theirs = foreign.trained(foreign.Kuangliu())
    state = {name: tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name}
    network = models.create("resnet18", num_classes=10)
    fit_to(network, weights(state))
    assert torch.allclose(answers(network), answers(theirs), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_networks_own_and_are_said(dtype: torch.dtype) -> None:
    one, other = (models.create("wrn-10-1", num_classes=10, seed=seed) for seed in (0, 1))
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in one.state_dict().items()}
    assert fit_to(other, weights(state)) == (f"weights were saved as {str(dtype).removeprefix('torch.')}",)
    assert {tensor.dtype for tensor in other.parameters()} == {torch.float32}
    assert all(torch.equal(t, state[n].float()) for n, t in other.named_parameters())


@pytest.mark.parametrize("names", ["normalize.mean normalize.std model.", "mean std ", "0.mean 0.std 1.", "mu sigma "])
@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1), (3, 1, 1)])
def test_a_normalisation_in_the_file_is_taken_over(names: str, shape: tuple[int, ...]) -> None:
    mean, std, prefix = names.split(" ")
    theirs = foreign.trained(foreign.Xternalz())
    state = {mean: torch.tensor(MEAN).view(shape), std: torch.tensor(STD).view(shape)}
    state |= {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    network = models.create("wrn-16-2", num_classes=10, normalisation=((0.1,) * 3, (0.9,) * 3))
    notes = fit_to(network, weights(state))
    assert notes[-1] == "normalisation of the checkpoint: mean 0.4, 0.5, 0.6, std 0.2, 0.3, 0.25"
    with torch.no_grad():
        expected = theirs((PIXELS - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    assert torch.allclose(answers(network), expected, atol=1e-5)


def test_a_normalisation_without_a_place_is_an_error_unless_it_does_nothing() -> None:
    theirs = foreign.trained(foreign.Xternalz())
    network = models.create("wrn-16-2", num_classes=10)
    body = theirs.state_dict()
    with pytest.raises(KdbenchError, match="brings its own normalisation of the pixels .mean 0.4, 0.5, 0.6, std 0.2"):
        fit_to(network, weights({"mean": torch.tensor(MEAN), "std": torch.tensor(STD), **body}))
    fit_to(network, weights({"mean": torch.zeros(3), "std": torch.ones(3), **body}))
    assert torch.allclose(answers(network), answers(theirs), atol=1e-5)
    normalised = models.create("wrn-16-2", num_classes=10, normalisation=(MEAN, STD))
    notes = fit_to(normalised, weights(body))
    assert notes[-1] == "no normalisation in the file: the one that the network was built with"


def test_one_whole_network_beside_a_projection_is_found() -> None:
    theirs = foreign.trained(foreign.Kuangliu())
    state = {f"backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}
    network = models.create("resnet18", num_classes=10)
    notes = fit_to(network, weights({**state, "projection.0.weight": torch.ones(3, 3)}))
    assert notes[0] == "weights of backbone; left out: projection"
    assert torch.allclose(answers(network), answers(theirs), atol=1e-5)
    twins = {**state, **{f"auxiliary.{name}": tensor for name, tensor in theirs.state_dict().items()}}
    with pytest.raises(KdbenchError, match="holds 2 networks that fit: backbone, auxiliary"):
        fit_to(network, weights(twins))


def test_two_layers_of_one_meaning_are_no_translation() -> None:
    assert common_names(["conv1.weight", "conv.weight"]) is None
    assert common_names(["conv1.weight", "tail.weight"]) is None
    assert common_names(["conv1.weight", "bn.bias"]) == {"conv1.weight": "stem weight", "bn.bias": "norm bias"}


def test_the_architectures_that_weights_fit_are_named() -> None:
    specs = [spec for spec in models.builtin_specs() if spec.image_size == 32]
    assert fitting_architectures(weights(foreign.Xternalz().state_dict()), specs) == ["wrn-16-2"]
    assert fitting_architectures(weights(foreign.KuangliuPreAct().state_dict()), specs) == ["preact18"]
    assert fitting_architectures(weights(models.create("wrn-40-2", num_classes=7).state_dict()), specs) == ["wrn-40-2"]
    assert fitting_architectures(weights(foreign.KuangliuPreAct(last_bn=False).state_dict()), specs) == []
    assert fitting_architectures(weights(nn.Linear(2, 2).state_dict()), specs) == []
