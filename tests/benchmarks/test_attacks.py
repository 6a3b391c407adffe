"""PGD with k = 10, 15, 20 and five restarts against torchattacks: three attacks times five restarts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import PGDResult, pgd
from kdbench.attacks.libraries import installation
from tests.benchmarks.networks import cifar10, some, trained

KS, RESTARTS, BATCH = (10, 15, 20), 5, 100
STEP_SIZE = 2 / 255
COUNT = {"cpu": 200, "cuda": 10_000}
BATCHES = {"cpu": BATCH, "cuda": 1000}


def ours(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> PGDResult:
    """The per-image worst case at each k."""
    batch = BATCHES[images.device.type]
    return pgd(model, images, labels, eps=eps, step_size=STEP_SIZE, steps=KS, restarts=RESTARTS, batch_size=batch)


def theirs(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> dict[int, Tensor]:
    """Bool (N,) for each k: right after each of five attacks."""
    found = {}
    for k in KS:
        attack = installation.torchattacks().PGD(model, eps=eps, alpha=STEP_SIZE, steps=k, random_start=True)
        right = torch.ones(len(images), dtype=torch.bool, device=images.device)
        for _ in range(RESTARTS):
            for part in torch.arange(len(images), device=images.device).split(BATCHES[images.device.type]):
                examples = attack(images[part], labels[part])
                with torch.no_grad():
                    right[part] &= model(examples).argmax(1) == labels[part]
        found[k] = right
    return found


def radius_at_which(share: float, model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The eps, by bisection, at which about this share of the images survive."""
    low, high = 0.0, 0.031
    for _ in range(8):
        middle = (low + high) / 2
        survive = pgd(model, images, labels, eps=middle, step_size=STEP_SIZE, steps=10).robust_accuracy(10)
        low, high = (middle, high) if survive > share else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize(
    ("survive", "reach"), [(None, "at least 20x"), (0.25, "at least 8x"), (0.45, "at least 5x")],
    ids=["eps-.031", "a-quarter-survives", "almost-half-survive"],
)  # fmt: skip
def test_worst_case_over_restarts(
    side_by_side: Callable[..., float], data_dir: Path, device: torch.device, survive: float | None, reach: str
) -> None:
    # A copy in the layout that torch gives a network: what a user of torchattacks has.
    model = copy.deepcopy(trained(data_dir)).to(device, memory_format=torch.contiguous_format)
    images, labels = (t.to(device) for t in some(cifar10(data_dir).test.test, COUNT[device.type]))
    eps = 0.031 if survive is None else radius_at_which(survive, model, images, labels)
    mine, other = ours(model, images, labels, eps), theirs(model, images, labels, eps)
    facts = {"eps": round(eps, 5), "clean": mine.clean_accuracy()}
    for k in KS:
        facts |= {
            f"ours, k = {k}": round(mine.robust_accuracy(k), 4),
            f"theirs, k = {k}": round(other[k].double().mean().item(), 4),
            f"images that differ, k = {k}": int((mine.robust[k] != other[k]).sum()),
        }
    which = "nearly all break" if survive is None else f"about {survive:.0%} survive"
    side_by_side(
        f"PGD-10, -15, -20, 5 restarts, worst case, {which}",
        lambda: ours(model, images, labels, eps),
        lambda: theirs(model, images, labels, eps),
        peer_name="torchattacks: three attacks x five restarts, same model, images and batch",
        n=len(images), reach=reach, device=device, facts=facts, warm_up=False,
    )  # fmt: skip
