"""Models without batch normalisation on (3, 8, 8) images, and what they say of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits W x + b on (3, 8, 8) images."""

    def __init__(self, classes: int = 10, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, 192, generator=generator))
        self.bias = nn.Parameter(torch.randn(classes, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias


def curved(classes: int = 10, seed: int = 0) -> nn.Sequential:
    """A small network, no batch norm, whose loss is not linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 48), nn.Tanh(), nn.Linear(48, classes))
        with torch.no_grad():
            model[1].weight.mul_(6)
    return model.eval()


def some_images(count: int, *, low: float = 0.0, high: float = 1.0, seed: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def labelled(model: nn.Module, images: Tensor, classes: int = 10, *, wrong: int = 7) -> Tensor:
    """The model's classes, but for every ``wrong``-th image."""
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[::wrong] = (labels[::wrong] + 1) % classes
    return labels


def reach(model: Linear, images: Tensor, labels: Tensor) -> np.ndarray:
    """The radius at which each image's class falls, min over j of margin_j / ||w_y - w_j||_1; below 0 if it has."""
    weight, bias = model.weight.detach().double().numpy(), model.bias.detach().double().numpy()
    logits = images.double().flatten(1).numpy() @ weight.T + bias
    found = []
    for row, y in zip(logits, labels.numpy(), strict=True):
        others = np.delete(np.arange(len(bias)), y)
        found.append(((row[y] - row[others]) / np.abs(weight[y] - weight[others]).sum(1)).min())
    return np.array(found)
