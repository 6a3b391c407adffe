"""What the tests of methods of two networks share: networks that read their logits off the image, and contexts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from tests.plugins.helpers import make, make_context, softmax

Array = np.ndarray[Any, Any]
CLASSES = 4


class Window(nn.Module):
    """Reads its logits off the image from a place of its own, times a weight: two networks, one image."""

    def __init__(self, place: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.place, self.classes = place, classes
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.weight * pixels.flatten(1)[:, self.place * self.classes : (self.place + 1) * self.classes]


def image_of(*logits: Tensor) -> Tensor:
    """Images (B, 3, 32, 32) in which the first window reads the first logits (B, C), the second the second."""
    values = torch.cat(logits, 1)
    return F.pad(values, (0, 3 * 32 * 32 - values.shape[1])).reshape(-1, 3, 32, 32)


def two_of_them(progress: float = 0.5, noise: float = 0.4, size: int = 8) -> kdbench.Context:
    """A context whose student reads the first window of an image, and its peer the second."""
    ctx = make_context(Window(0), classes=CLASSES)
    ctx._make = lambda name, *, model, dropout: Window(1)
    ctx.train_size, ctx.noise_rate, ctx.epochs, ctx.steps = size, noise, 10, 10_000  # no floor of a share matters
    ctx.noise_realised = 0.9 * noise  # as inclusive noise of ten classes
    at(ctx, progress)
    return ctx


def at(ctx: kdbench.Context, progress: float) -> None:
    ctx.step, ctx.epoch = round(progress * ctx.steps), int(progress * ctx.epochs)


def prepared(name: str, ctx: kdbench.Context, **params: Any) -> Any:
    method = make(name, **params)
    method.setup(ctx)
    return method


def draw(seed: int, batch: int = 8, scale: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two networks (B, C) float64 and labels (B,)."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (scale * torch.randn(batch, CLASSES, generator=generator, dtype=torch.float64) for _ in range(2))
    return first, second, torch.randint(CLASSES, (batch,), generator=generator)


def batch_of(labels: Tensor, **views: Tensor) -> kdbench.Batch:
    return kdbench.Batch(views["images"], labels, torch.arange(len(labels)), views)


def entropies(logits: Tensor, labels: Tensor) -> Array:
    return np.asarray(-np.log(softmax(logits.detach().numpy())[np.arange(len(labels)), labels]))


def smallest(losses: Array, share: float, among: Array | None = None) -> Array:
    """Places of the small losses, by sorting."""
    places = np.arange(len(losses)) if among is None else np.flatnonzero(among)
    kept = max(1, math.floor(share * len(places) + 1e-9))
    return places[np.argsort(losses[places])][:kept] if len(places) else places
