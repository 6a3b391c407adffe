"""The conformance kit: what it lets pass, and what it finds in methods that own networks and need others."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench.testing import check_method

PLUGINS = (Path(__file__).parent.parent / "docs/plugins.md").read_text()


@pytest.mark.parametrize("name", ["ce_at_temperature", "kd_from_dropout", "helped", "peers"])
def test_the_methods_in_the_documentation_conform(name: str) -> None:
    world: dict[str, Any] = {
        "kdbench": kdbench, "F": F, "nn": nn, "torch": torch, "Annotated": Annotated, "Field": Field,
        "Literal": Literal,
    }  # fmt: skip
    [block] = [
        code
        for code in re.findall(r"```python\n(.*?)```", PLUGINS, re.S)
        if f"\ndef {name}(" in code or f"\n{name} =" in code
    ]
    exec(block, world)
    check_method(world[name], num_classes=(10,))


class Peers(kdbench.Method):
    """Two networks that learn from the labels, and a network trained before them."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer", dropout=0.1)
        self.prior = torch.ones(ctx.num_classes, device=ctx.device)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def state(self) -> Mapping[str, Tensor]:
        return {"prior": self.prior}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.prior = state["prior"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            self.prior = ctx.predict(ctx.networks["start"]).softmax(1).mean(0)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        both = ctx.student(batch.images), self.peer(batch.images)
        first, second = (F.cross_entropy(logits + self.prior.log(), batch.labels) for logits in both)
        return first + second

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Voting(self.peer)


class Voting(nn.Module):
    """Mean over noisy forwards: random, from torch's global generator."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([self.network(pixels + 0.1 * torch.randn_like(pixels)) for _ in range(3)]).mean(0)


def needs(params: Mapping[str, Any]) -> dict[str, str | kdbench.Network]:
    return {"start": kdbench.Network("student", "nobody-has-this"), "teacher": "teacher"}


def test_peers_needs_by_a_function_and_a_random_predictor_conform() -> None:
    check_method(kdbench.method("peers", needs=needs)(Peers))


class Forgets(Peers):
    """Loses its prior when interrupted."""

    def state(self) -> Mapping[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        pass


class LooksInSetup(Peers):
    """Reads the training set where there may be none."""

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        self.prior = ctx.train.labels.bincount().float()


class Shares(Peers):
    """Lists the student's own layers."""

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        self.peer = Voting(ctx.student)


class ScalesByState(Peers):
    """Is evaluated with what the checkpoint does not hold."""

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Scaled(ctx.student, 1 + self.prior)


class Scaled(nn.Module):
    def __init__(self, network: nn.Module, scale: Tensor) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels) * self.scale  # type: ignore[no-any-return]  # torch leaves modules untyped


class FailsOnOne(Peers):
    """Takes the variance over a batch."""

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return super().loss(batch, ctx) + ctx.student(batch.images).var(0).mean()


class Untold(Peers):
    """Sees the images through a layer that networks() does not name."""

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        self.lens = nn.Conv2d(3, 3, 1)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return F.cross_entropy(ctx.student(self.lens(batch.images)), batch.labels)  # type: ignore[no-any-return]


def harm(what: str) -> kdbench.MethodSpec:
    """Cross-entropy that leaves something else than it found."""

    @kdbench.method("harm")
    def harmful(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        if what == "images":
            batch.images.mul_(0.5)
        elif what == "labels":
            batch.labels.fill_(0)
        elif what == "dtype":
            torch.set_default_dtype(torch.float64)
        elif what == "seed":
            torch.manual_seed(0)
        elif what == "python":
            random.random()
        elif what == "numpy":
            np.random.rand()
        loss: Tensor = F.cross_entropy(ctx.student(batch.images), batch.labels)
        return loss

    return harmful


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("images", "'harm' changed batch.images in place"),
        ("labels", "'harm' changed batch.labels in place"),
        ("dtype", "'harm' changed torch's default dtype, which all code shares"),
        ("seed", "'harm' changed the seed of torch's random numbers, which all code shares: draw from ctx.generator"),
        ("python", "'harm' changed Python's random numbers"),
        ("numpy", "'harm' changed NumPy's random numbers"),
    ],
)
def test_the_kit_finds_what_a_loss_leaves_otherwise_than_it_found_it(what: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_method(harm(what), num_classes=(10,))
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Forgets, "a resumed training ended differently"),
        (LooksInSetup, "ctx.train was used in setup"),
        (Shares, "'peer' and 'student' share a tensor"),
        (ScalesByState, "a loaded checkpoint predicts otherwise"),
        (FailsOnOne, "the training loss became nan"),
        (
            Untold,
            r"the loss depends on a parameter of shape \(3, 3, 1, 1\) that nothing trains: networks\(\) must return",
        ),
    ],
)
def test_the_kit_finds_what_an_author_got_wrong(target: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_method(kdbench.method("wrong", needs=needs)(target), num_classes=(10,))
