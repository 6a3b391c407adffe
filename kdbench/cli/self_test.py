"""Whether a device computes what the CPU computes: one small attack and two corruptions on both, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.attacks import PGDResult, pgd
from kdbench.corruptions import corrupt
from kdbench.devices import CPU
from kdbench.inference.prediction import freeze, predict
from kdbench.models import build, builtin_specs

IMAGES, CLASSES = 64, 10
EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10
CORRUPTIONS = ("gaussian_noise", "defocus_blur")
SHARPNESS = 30.0
"""Of the last layer: logits of an untrained network are all but equal, and rounding would decide its class."""
LOGITS, BROKEN, PIXELS = 1e-4, 0.05, 0.01
"""Largest difference of a logit relative to the largest of them, and shares of images and of bytes that may differ."""
EXPECTED = f"logits to {LOGITS:g}, the attack on {1 - BROKEN:.0%} of images, {1 - PIXELS:.0%} of corrupted bytes"


@dataclass(frozen=True)
class Agreement:
    """What differs between a device and the CPU."""

    logits: float
    """Largest difference of a logit, relative to the largest."""
    robust: tuple[int, int]
    """Images of ``IMAGES`` that stand under the attack on the CPU and on the device."""
    attacked: int
    """Images on which the two attacks ended differently."""
    bytes: float
    """Share of the corrupted bytes that differ."""

    @property
    def agrees(self) -> bool:
        return self.logits <= LOGITS and self.attacked <= BROKEN * IMAGES and self.bytes <= PIXELS

    def __str__(self) -> str:
        cpu, device = self.robust
        return (
            f"logits differ by {self.logits:.1e}, PGD leaves {device} of {IMAGES} images on it and {cpu} on the CPU "
            f"({self.attacked} differ), {self.bytes:.2%} of corrupted bytes differ"
        )


def compare(device: torch.device) -> Agreement:
    """Compute the same on the CPU and on ``device``. Nothing is downloaded or written."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), generator=generator).to(torch.uint8)
    network = freeze(_network())
    logits = predict(network, images, device=CPU)
    labels = logits.argmax(1)
    cpu, corrupted = _attack(network, images, labels), _corrupted(images)
    network.to(device)
    there = predict(network, images, device=device)
    attacked = _attack(network, images.to(device), labels.to(device))
    differing = _corrupted(images.to(device)).cpu() != corrupted
    robust, other = cpu.robust[STEPS], attacked.robust[STEPS].cpu()
    return Agreement(
        logits=float((there - logits).abs().max() / logits.abs().max()),
        robust=(int(robust.sum()), int(other.sum())),
        attacked=int((robust != other).sum()),
        bytes=float(differing.float().mean()),
    )


def _network() -> nn.Module:
    (spec,) = (one for one in builtin_specs() if one.name == "wrn-10-1")
    network = build(spec, num_classes=CLASSES, seed=0)
    with torch.no_grad():
        list(network.parameters())[-2].mul_(SHARPNESS)
    return network


def _attack(network: nn.Module, images: Tensor, labels: Tensor) -> PGDResult:
    return pgd(network, images, labels, eps=EPS, step_size=STEP_SIZE, steps=STEPS)


def _corrupted(images: Tensor) -> Tensor:
    generators = {name: torch.Generator().manual_seed(0) for name in CORRUPTIONS}
    return torch.stack([corrupt(images, name, 3, generator=one) for name, one in generators.items()])
