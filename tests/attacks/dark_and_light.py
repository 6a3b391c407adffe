"""Four grey images and a model that tells dark ones from light ones: what an attack does to it is plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import kdbench
from kdbench.attacks import AttackSpec

LEVELS = (0.2, 0.45, 0.48, 0.6)
"""Brightness of four images; the first three are dark, the last is light."""


def brightness(images: Tensor) -> Tensor:
    """Two classes: darker or lighter than one half."""
    mean = images.mean((1, 2, 3))
    return 50 * torch.stack([0.5 - mean, mean - 0.5], dim=1)


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(len(levels), 3, 8, 8).clone()


def made(function: Callable[..., Any], **options: Any) -> AttackSpec:
    return kdbench.attack("made", **options)(function)


def from_the_ball(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    """Candidates that are random points of the ball."""
    return ctx.uniform(images)
