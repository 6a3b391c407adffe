"""A small training, and methods that write down what they are shown."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

import kdbench
from kdbench.methods.context import TrainSet
from kdbench.methods.method import Method
from kdbench.models import build
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.testing import TINY
from kdbench.training.loop import fit

CPU = torch.device("cpu")


def training(recipe: Recipe, seed: int = 0) -> Training:
    return Training(
        suite="x", dataset="x", dataset_sha256="", train_size=None, subset_seed=0, labels_sha256="", model="tiny",
        noise=LabelNoise(kind="symmetric", rate=0.25), model_source="", device="cpu", mean=None, std=None, flip=True,
        recipe=recipe, method="m", method_source="", params={}, seed=seed, needs={},
    )  # fmt: skip


def train_set(n: int = 22) -> TrainSet:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator).to(torch.uint8)
    return TrainSet(images, torch.arange(n) % 10, 10)


class Spy(Method):
    """Cross-entropy that writes down what it is shown."""

    def __init__(self) -> None:
        self.batches: list[kdbench.Batch] = []
        self.calls: list[str] = []
        self.progress: list[float] = []

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.calls.append(f"epoch {ctx.epoch}")
        assert ctx.student.training

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        self.calls.append(f"loss {ctx.step}")
        self.batches.append(batch)
        self.progress.append(ctx.progress)
        assert (ctx.noise_kind, ctx.noise_rate, ctx.train_size) == ("symmetric", 0.25, 22)
        return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)

    def after_step(self, ctx: kdbench.Context) -> None:
        self.calls.append(f"after {ctx.step}")


def run(method: Method, recipe: Recipe, folder: Path, student: nn.Module | None = None, **options: object) -> nn.Module:
    student = student or build(TINY, num_classes=10, seed=1)
    fit(training(recipe), method, student, train_set(), {}, folder=folder, device=CPU, **options)  # type: ignore[arg-type]  # test options
    return student


class Pair(nn.Module):
    """The mean of two networks' logits."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([member(pixels) for member in self.members]).mean(0)


def make_tiny(model: str | None, dropout: float, seed: int) -> nn.Module:
    return build(TINY, num_classes=10, dropout=dropout, seed=seed)


class Peers(Spy):
    """A peer, a learned matrix behind it, and a frozen copy of the student."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer")
        self.matrix = nn.Linear(10, 10, bias=False)
        self.still = copy.deepcopy(ctx.student).requires_grad_(False).eval()

    def networks(self) -> dict[str, nn.Module]:
        return {"peer": self.peer, "matrix": self.matrix, "still": self.still}

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        super().on_epoch_start(ctx)
        assert (self.peer.training, self.matrix.training, self.still.training) == (True, True, False)
        self.peer.eval()
        self.matrix.eval()

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        through = self.matrix(self.peer(batch.images))
        return super().loss(batch, ctx) + nn.functional.cross_entropy(through, batch.labels)

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Pair(ctx.student, self.peer)


RECIPE = Recipe(epochs=2, batch_size=10, lr=0.1)
