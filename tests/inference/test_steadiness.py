"""Networks of which their parts show that they can't be random, and those that have to be tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.inference.folding import folded
from kdbench.inference.prediction import folded_copy, is_random
from kdbench.inference.steadiness import draws_nothing
from kdbench.models import MeanLogits, PixelModel, build
from kdbench.models.resnet import BasicBlock
from kdbench.plugin.loader import load_plugins
from tests.inference.test_folding import with_statistics

CPU = torch.device("cpu")
IMAGES = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(name: str = "wrn-10-1") -> nn.Module:
    spec = load_plugins().models.get(name)
    made = build(spec, num_classes=10, normalisation=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), seed=0)
    return with_statistics(made).eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet18", "shufflenet-v2"])
def test_our_networks_and_what_folding_makes_of_them_cant_be_random(name: str) -> None:
    model = network(name)
    fast = folded(model, IMAGES)
    assert fast is not model
    assert draws_nothing(model)
    assert draws_nothing(fast)


def test_such_a_network_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    model = folded_copy(network(), IMAGES, CPU)
    calls, forward = [], type(model).forward

    def counting(self: nn.Module, images: Tensor) -> Any:
        calls.append(1)
        return forward(self, images)

    monkeypatch.setattr(type(model), "forward", counting)
    assert not is_random(model, IMAGES)
    assert len(calls) == 2, "two layouts are tried, and no draws"


class Noisy(nn.Conv2d):
    """A subclass of a layer that draws nothing."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + torch.rand(1)


class Mine(PixelModel):
    """Of somebody else's file."""


def hooked() -> nn.Module:
    model = network()
    model.register_forward_hook(lambda module, inputs, output: output + torch.rand(1))
    return model


def with_a_hooked_part() -> nn.Module:
    model = network()
    next(module for module in model.modules() if isinstance(module, nn.Linear)).register_forward_pre_hook(
        lambda module, inputs: inputs[0] + torch.rand(1)
    )
    return model


def with_its_own_forward() -> nn.Module:
    model = network()
    forward = model.forward
    model.forward = lambda pixels: forward(pixels) + torch.rand(1)
    return model


def with_a_layer_that_draws() -> nn.Module:
    model = network()
    noisy = Noisy(3, 16, 3, padding=1).double()  # as the network is here
    model.get_submodule("network").stem = noisy.requires_grad_(False)
    return model.eval()


def with_dropout_on() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 32 * 32, 10)).eval()
    model[1].train()
    return model


class Traced(nn.Module):
    """Draws in its graph."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.dropout(pixels, training=True).flatten(1)[:, :10]


@pytest.mark.parametrize(
    "make", [hooked, with_a_hooked_part, with_its_own_forward, with_a_layer_that_draws, with_dropout_on]
)
def test_what_could_draw_is_tried(make: Callable[[], nn.Module]) -> None:
    model = make()
    assert not draws_nothing(model)
    if make is not with_dropout_on:  # measuring puts it into eval mode
        assert is_random(model, IMAGES)


def test_other_peoples_classes_are_tried() -> None:
    model = Mine(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))).eval()
    assert not draws_nothing(model)
    assert not draws_nothing(torch.fx.symbolic_trace(Traced()).eval())
    assert not draws_nothing(MeanLogits(Noisy(3, 3, 1)).eval())
    assert not draws_nothing(lambda pixels: pixels)
    assert draws_nothing(BasicBlock(3, 3, 1).eval())
    assert not draws_nothing(BasicBlock(3, 3, 1))
