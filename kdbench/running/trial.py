"""A method on a tiny network and a few random pixels: what the conformance kit and fingerprints train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.methods.context import TrainSet
from kdbench.models import ModelSpec, build
from kdbench.specs import LabelNoise, Recipe, Training

TINY = ModelSpec("tiny", lambda *, num_classes, dropout=0.0: _TinyNetwork(num_classes, dropout), "a network for tests")


class _TinyNetwork(nn.Module):
    """Convolution, batch norm, pooling, linear: enough for everything that methods do to networks."""

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(8, num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(pixels).mean((2, 3)))
        return logits


def tiny_network(classes: int, seed: int, dropout: float = 0.0) -> nn.Module:
    """An untrained one."""
    return build(TINY, num_classes=classes, seed=seed, dropout=dropout)


def tiny_set(images: int, classes: int, wrong: float, *, patches: int = 32) -> TrainSet:
    """Images (images, 3, 32, 32) of random patches, so many a side, and random labels; always the same.

    ``wrong`` is the noise rate that it claims.
    """
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (images, 3, patches, patches), generator=generator).to(torch.uint8)
    pixels = pixels.repeat_interleave(32 // patches, 2).repeat_interleave(32 // patches, 3)
    labels = torch.randint(0, classes, (images,), generator=generator)
    return TrainSet(pixels, labels, classes, noise_realised=wrong)


def tiny_training(
    method: str,
    params: Mapping[str, Any],
    recipe: Recipe,
    noise: LabelNoise | None,
    *,
    seed: int = 0,
    source: str = "",
    measured: Mapping[str, Any] | None = None,
    roles: Iterable[str] = (),
) -> Training:
    """The training of a tiny network with a method on such pixels, on the CPU."""
    return Training(
        suite="trial",
        dataset="random pixels",
        dataset_sha256="",
        train_size=None,
        subset_seed=0,
        noise=noise,
        labels_sha256="",
        model=TINY.name,
        model_source="",
        mean=None,
        std=None,
        flip=True,
        recipe=recipe,
        method=method,
        method_source=source,
        params=dict(params),
        measured=dict(measured or {}),
        seed=seed,
        device="cpu",
        needs=dict.fromkeys(roles, ""),
    )
