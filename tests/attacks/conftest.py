"""Small networks and images for the attacks' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Problem:
    """A network, float32 images (N, 3, 8, 8) and labels (N,), of which it gets all right but every seventh."""

    model: nn.Module
    images: Tensor
    labels: Tensor


class Widen(nn.Module):
    """Float64 from here on: batches of other sizes round otherwise in float32, and a sign turns that into a step."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Wave(nn.Module):
    """A sine, so that the loss has many local maxima and restarts and iterates differ."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(12 * x)


def small_network(seed: int, classes: int = 4) -> nn.Sequential:
    """A convolutional network with batch normalisation and dropout, so that eval mode matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        normalised = nn.BatchNorm2d(8)
        last = nn.Linear(72, classes)
        model = nn.Sequential(
            Widen(), nn.Conv2d(3, 8, 3, padding=1), normalised, Wave(), nn.Conv2d(8, 8, 3, stride=2), Wave(),
            nn.Flatten(), nn.Dropout(0.5), last,
        ).double()  # fmt: skip
        normalised.running_mean = torch.rand(8).double() * 0.4 - 0.2
        normalised.running_var = torch.rand(8).double() + 0.5
        with torch.no_grad():
            last.weight.mul_(8.0)
            last.bias.sub_(model.eval()(torch.rand(256, 3, 8, 8)).mean(dim=0))  # every class gets predicted
    return model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> Callable[[int], nn.Sequential]:
    """Seed -> a small network with four classes."""
    return small_network


@pytest.fixture
def problem() -> Problem:
    model = small_network(seed=1)
    images = torch.rand(41, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[::7] = (labels[::7] + 1) % 4
    return Problem(model, images, labels)
