"""Folded networks answer like the ones they were made from, and networks that can't be folded are left alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench import models
from kdbench.inference.folding import folded
from kdbench.inference.prediction import frozen


class Block(nn.Module):
    """Every place a batch norm can stand in: behind a convolution, before a ReLU module or function, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 6, 3, bias=True), nn.BatchNorm2d(6)
        self.norm2, self.relu = nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.conv2, self.norm3 = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6, affine=False)
        self.shared = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x))
        y = self.relu(self.norm2(x))
        y = self.conv2(y)
        y = self.norm3(y + x)  # not behind the convolution alone
        y = F.relu(self.shared(y)) + self.shared(y + 1)  # called twice, once before a ReLU
        found: Tensor = self.linear(y.mean((2, 3)))
        return found


def with_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """As if it had been trained: statistics and scales of all sizes and signs."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.2, 3, generator=generator)
            if module.affine:
                nn.init.normal_(module.weight, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return model.double().eval().requires_grad_(False)


def pixels(count: int = 6, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def gradient_of(model: Any, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_(True)
    logits = model(leaf)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.arange(len(images)) % 4), leaf)
    return gradient


def norms_in(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["block", "wrn-10-1", "wrn-16-2", "preact34-gjs"])
def test_logits_and_gradients_are_those_of_the_network(name: str) -> None:
    """In float64, where only a wrong formula shows."""
    made = Block() if name == "block" else models.create(name, num_classes=4, normalisation=((0.5,) * 3, (0.2,) * 3))
    model, images = with_statistics(made), pixels().double()
    other = folded(model, images)
    assert other is not model
    assert norms_in(other) == (1 if name == "block" else 0)  # the one that is called twice stays
    assert torch.allclose(other(images), model(images), rtol=1e-9, atol=1e-9)
    assert torch.allclose(gradient_of(other, images), gradient_of(model, images), rtol=1e-7, atol=1e-12)


def test_the_network_itself_stays_as_it_was() -> None:
    model = with_statistics(Block())
    before, layout = model(pixels().double()), model.get_parameter("conv1.weight").stride()
    folded(model, pixels().double())
    assert torch.equal(model(pixels().double()), before)
    assert model.get_parameter("conv1.weight").stride() == layout
    assert norms_in(model) == 4


def test_a_changed_network_is_folded_again() -> None:
    """Changes that torch does not count: through .data, an attribute, another module."""
    model, images = with_statistics(Block()), pixels().double()
    folded(model, images)
    model.get_parameter("conv1.weight").data.mul_(1.5)
    model.get_submodule("norm2").eps = 0.5
    model.relu = nn.Identity()
    assert torch.allclose(folded(model, images)(images), model(images), rtol=1e-9, atol=1e-9)


class StraightThrough(torch.autograd.Function):
    """Rounds, and lets the gradient through; a tracer sees the rounding alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.conv(StraightThrough.apply(x))).mean((2, 3))
        return found


class Sealed(Rounding):
    """No gradient reaches its input; a tracer does not see why."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            seen = 2 * x
        found: Tensor = self.norm(self.conv(seen)).mean((2, 3))
        return found


class Named(Rounding):
    """Calls its batch norm by keyword."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(input=self.conv(x)).mean((2, 3))
        return found


class Training(Rounding):
    """Keeps its batch norm in train mode."""

    def train(self, mode: bool = True) -> Training:
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.conv(x)).mean((2, 3))
        return found


@pytest.mark.parametrize("kind", [Rounding, Sealed, Named, Training])
def test_what_a_trace_gets_wrong_is_run_as_it_is(kind: type[nn.Module]) -> None:
    model = kind().eval().requires_grad_(False)
    with frozen(model, pixels()) as fast:
        leaf = pixels().requires_grad_(True)
        (theirs,) = torch.autograd.grad(model(leaf).sum(), leaf, allow_unused=True) if kind is not Sealed else (None,)
        logits = fast(leaf)
        assert torch.allclose(logits, model(leaf), atol=1e-5)
        assert logits.requires_grad == (kind is not Sealed)
        if theirs is not None:
            (gradient,) = torch.autograd.grad(logits.sum(), leaf)
            assert torch.allclose(gradient, theirs, atol=1e-5)


def test_small_logits_are_compared_on_their_own_scale() -> None:
    class Reduced(Rounding):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found: Tensor = self.norm(self.conv(x))
            return 1e-3 * found.float().mean((2, 3))

    model = Reduced().eval().requires_grad_(False)
    assert folded(model, pixels()) is model


class Random(nn.Module):
    """Noise on the weights, drawn while it runs: a tracer would take one draw for a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        noisy = self.conv.weight + 1e-3 * torch.randn_like(self.conv.weight)
        found: Tensor = self.norm(F.conv2d(x, noisy)).mean((2, 3))
        return found


class Branching(nn.Module):
    """What it computes hangs on the values it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x).mean((2, 3))
        return found if x.mean() > 0.5 else -found


@pytest.mark.parametrize("model", [Random(), Branching(), nn.Sequential(nn.Flatten(), nn.Linear(3072, 4))])
def test_what_cannot_be_folded_is_run_as_it_is(model: nn.Module) -> None:
    model.eval()
    assert folded(model, pixels()) is model


def test_hooks_are_not_lost() -> None:
    model, seen = with_statistics(Block()), []
    model.get_submodule("norm2").register_forward_hook(lambda *call: seen.append(1))
    with frozen(model, pixels().double()) as fast:
        fast(pixels().double())
    assert seen


def test_a_network_with_broken_weights_keeps_its_own_answer() -> None:
    model = with_statistics(Block())
    model.get_buffer("norm1.running_mean").fill_(torch.nan)
    assert folded(model, pixels().double()) is model
