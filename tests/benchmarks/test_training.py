"""An epoch of ``fit`` against a bare loop that does the same work, and a method's step against the bare one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench.augment import crop_flip
from kdbench.devices import resolve_precision
from kdbench.methods.method import MethodSpec
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Recipe, Training
from kdbench.suites import load_suite
from kdbench.training.loop import fit
from tests.benchmarks.networks import cifar10

IMAGES = {"cpu": 5_000, "cuda": 50_000}
"""Of one epoch: 40 steps are enough for a ratio on a CPU."""
ROUNDS = 3


def recipe(device: torch.device) -> Recipe:
    """One epoch by the recipe of the suite cifar10."""
    found = load_suite("cifar10").condition("clean").recipe
    precision = resolve_precision(found.precision, device)
    return found.model_copy(update={"epochs": 1, "milestones": (), "precision": precision})


def network() -> nn.Module:
    return build(load_plugins().models.get("wrn-16-2"), num_classes=10, seed=0)


def epoch(method: MethodSpec, train: kdbench.TrainSet, device: torch.device) -> None:
    """One epoch as a run trains it, its checkpoint and log written; only the monitor is off."""
    params = method.validate({})
    spec = Training(
        suite="x", dataset="x", dataset_sha256="", train_size=None, subset_seed=0, noise=None, labels_sha256="",
        model="wrn-16-2", model_source="", mean=None, std=None, flip=True, recipe=recipe(device), method=method.name,
        method_source="", params=params, seed=0, device=device.type, needs={},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        fit(spec, method.make(params), network(), train, {}, folder=Path(folder), device=device)


def bare_epoch(images: Tensor, labels: Tensor, device: torch.device) -> None:
    """The least that trains a network by the same recipe: a hand-written loop over tensors in memory."""
    setting = recipe(device)
    model = network().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=setting.lr, momentum=setting.momentum, weight_decay=setting.weight_decay
    )
    generator = torch.Generator(device).manual_seed(0)
    reduced = setting.precision == "bfloat16"
    for index in torch.randperm(len(images)).to(device).split(setting.batch_size):
        pixels = crop_flip(images[index].float().div_(255), generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16) if reduced else contextlib.nullcontext():
            loss = F.cross_entropy(model(pixels), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "work", "reach"),
    [
        ("ce", "an epoch of fit(), cross-entropy", "at most 5 % slower (at least 0.95x)"),
        ("nrd", "an epoch of fit(), NRD: two views, a teacher's forward, its average", "at most 2.2x (at least 0.45x)"),
    ],
    ids=["ce", "nrd"],
)
def test_epoch(
    side_by_side: Callable[..., float], data_dir: Path, device: torch.device, name: str, work: str, reach: str
) -> None:
    source: Any = cifar10(data_dir).dataset.train
    chosen = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[: IMAGES[device.type]]
    train = kdbench.TrainSet(source.images[chosen].to(device), source.labels[chosen].to(device), 10)
    side_by_side(
        work,
        lambda: epoch(load_plugins().methods.get(name), train, device),
        lambda: bare_epoch(train.images, train.labels, device),
        peer_name="a bare loop: the same augmentation, network and optimiser, cross-entropy",
        n=len(chosen),
        reach=reach,
        device=device,
        rounds=ROUNDS,
        facts={"network": "wrn-16-2", "batch": 128, "precision": recipe(device).precision},
    )
