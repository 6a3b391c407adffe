"""Networks with known logits, and what the harness would lend a method that is asked for its loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench.data import DataPlace, digits
from kdbench.methods.method import Method
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.suites import load_suite


def digits_graph(folder: Path, plugins: Plugins | None = None) -> RunGraph:
    """The trainings of suite digits, none of which is done."""
    options = RunOptions(DataPlace.default(), torch.device("cpu"), folder)
    return RunGraph(load_suite("digits"), digits.load(options.place), plugins or load_plugins(), options)


class Fixed(nn.Module):
    """A network whose logits are given, whatever it is shown."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits


class Legible(nn.Module):
    """A network that reads its logits off the image, so that each view can have logits of its own."""

    def __init__(self, classes: int, start: int = 0) -> None:
        super().__init__()
        self.classes, self.start = classes, start

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1)[:, self.start : self.start + self.classes]


def image_of(logits: Tensor) -> Tensor:
    """Images (B, 3, 32, 32) in which ``Legible`` reads these logits (B, C)."""
    padded: Tensor = F.pad(logits, (0, 3 * 32 * 32 - logits.shape[1]))
    return padded.reshape(-1, 3, 32, 32)


def make_context(student: nn.Module, teacher: nn.Module | None = None, classes: int = 3) -> kdbench.Context:
    return kdbench.Context(
        student=student, networks={} if teacher is None else {"teacher": teacher}, num_classes=classes, train_size=2,
        device=torch.device("cpu"), generator=torch.Generator().manual_seed(0), augment=lambda images: images,
        mean=(0.5, 0.5, 0.5), flip=True, noise_kind=None, noise_rate=0.0, noise_realised=0.0, epochs=1,
        steps=1,
    )  # fmt: skip


def with_peer(ctx: kdbench.Context, peer: nn.Module) -> kdbench.Context:
    """The same context, in which ``new_network`` gives ``peer``."""
    return dataclasses.replace(ctx, _make=lambda name, *, model, dropout: peer)


def make_batch(labels: list[int], **views: Tensor) -> kdbench.Batch:
    images = torch.full((len(labels), 3, 32, 32), 0.5)
    shown = {"images": images, **views}
    return kdbench.Batch(shown["images"], torch.tensor(labels), torch.arange(len(labels)), shown)


def make(name: str, **params: Any) -> Method:
    spec = load_plugins().methods.get(name)
    return spec.make(spec.validate(params))


def softmax(logits: Any, temperature: float = 1.0) -> np.ndarray[Any, Any]:
    scaled = np.exp(np.asarray(logits, dtype=np.float64) / temperature)
    probabilities: np.ndarray[Any, Any] = scaled / scaled.sum(-1, keepdims=True)
    return probabilities


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_pixels(seed: int, *shape: int) -> Tensor:
    """Uniform float32 numbers in [0, 1] of any shape, such as images (B, 3, H, W)."""
    return torch.rand(shape, generator=seeded(seed))
