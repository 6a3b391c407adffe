"""A network for the benchmarks of measuring: trained in half a minute, as accurate as that allows."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.attacks.step import projected_step
from kdbench.data import DataPlace, ImageSet
from kdbench.models import PixelModel
from kdbench.models.wide_resnet import wide_resnet
from kdbench.plugin.loader import load_plugins
from kdbench.running.suite_data import SuiteData, load_suite_data
from kdbench.suites import load_suite

STATISTICS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


@functools.cache
def cifar10(data_dir: Path) -> SuiteData:
    """The images of the suite cifar10-lite."""
    return load_suite_data(load_suite("cifar10-lite"), load_plugins(), DataPlace.default(data_dir), ood=True)


@functools.cache
def trained(data_dir: Path, depth: int = 22, widening: int = 1, seed: int = 0) -> nn.Module:
    """WRN-22-1 by default, 0.27 million parameters like ResNet-20; two epochs of 15,000 images of CIFAR-10."""
    train = cifar10(data_dir).dataset.train
    assert train is not None
    torch.manual_seed(seed)
    model = PixelModel(wide_resnet(depth, widening, num_classes=10), STATISTICS).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    order = torch.randperm(len(train))[:15000]
    batches = [*order.split(100), *order[torch.randperm(len(order))].split(100)]
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / len(batches))
        loss = F.cross_entropy(model(train.images[batch].float() / 255), train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


@functools.cache
def hardened(data_dir: Path, epochs: int = 3) -> nn.Module:
    """A small network trained adversarially: PGD-3 at 8/255 (Madry et al. 2018) on all of CIFAR-10."""
    train, eps, step_size = cifar10(data_dir).dataset.train, 8 / 255, 4 / 255
    assert train is not None
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1), nn.Conv2d(64, 64, 3, 2, 1)]
    features = [layer for convolution in layers for layer in (convolution, nn.ReLU())]
    network = nn.Sequential(*features, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10))
    model = PixelModel(network, STATISTICS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in torch.cat([torch.randperm(len(train)) for _ in range(epochs)]).split(250):
        images, labels = train.images[batch].float() / 255, train.labels[batch]
        found = (images + torch.empty_like(images).uniform_(-eps, eps)).clamp(0, 1)
        for _ in range(3):
            leaf = found.requires_grad_(True)
            [gradient] = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
            found = projected_step(leaf.detach(), images, gradient, eps=eps, step_size=step_size)
        loss = F.cross_entropy(model(found), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def some(images: ImageSet, count: int) -> tuple[Tensor, Tensor]:
    """The same ``count`` images every time, float32 in [0, 1], and their labels."""
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    return images.images[chosen].float() / 255, images.labels[chosen]
