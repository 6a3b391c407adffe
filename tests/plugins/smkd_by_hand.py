"""Losses of self-correction and exchange in float64 NumPy, and those of the methods for given logits."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

import kdbench
from tests.plugins.helpers import Legible, image_of, make, make_batch, make_context, softmax, with_peer

Array = np.ndarray[Any, Any]
CLASSES, SAMPLES = 5, 6
ALONE, PAIRS = ("proselflc", "mylc"), ("smkd-s", "smkd-p")


def draw(seed: int, scale: float = 2.0, samples: int = SAMPLES) -> tuple[Tensor, Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (scale * torch.randn(samples, CLASSES, generator=generator, dtype=torch.float64) for _ in range(2))
    return ours, theirs, torch.randint(CLASSES, (samples,), generator=generator).tolist()


def context(progress: float, classes: int, train_size: int) -> kdbench.Context:
    ctx = make_context(Legible(classes), classes=classes)
    ctx = dataclasses.replace(ctx, steps=1000, step=round(1000 * progress), train_size=train_size)
    return with_peer(ctx, Legible(classes, start=classes))


def batch_of(ours: Tensor, theirs: Tensor, labels: list[int]) -> kdbench.Batch:
    return make_batch(labels, images=image_of(torch.cat([ours, theirs], 1)))


def loss_of(
    name: str, ours: Tensor, theirs: Tensor, labels: list[int], progress: float = 0.7, train_size: int = SAMPLES,
    **params: Any,
) -> Tensor:  # fmt: skip
    """The loss of the first step of two peers with these logits (B, C), or of one network with the first."""
    ctx, method = context(progress, ours.shape[1], train_size), make(name, **params)
    method.setup(ctx)
    return method.loss(batch_of(ours, theirs, labels), ctx)


def gradients_of(name: str, ours: Tensor, theirs: Tensor, labels: list[int], **options: Any) -> tuple[Tensor, Tensor]:
    a, b = ours.clone().requires_grad_(), theirs.clone().requires_grad_()
    first, second = torch.autograd.grad(loss_of(name, a, b, labels, **options), (a, b), allow_unused=True)
    return first, torch.zeros_like(b) if second is None else second


# The formulas, from probabilities p (B, C) and one-hot labels q (B, C).


def h(value: float, slope: float) -> float:
    return 1 / (1 + math.exp(-value * slope))


def entropy_of(p: Array) -> Array:
    found: Array = -(p * np.log(p)).sum(1)
    return found


def weight_of_own(kind: str, p: Array, progress: float, train_size: int, params: dict[str, Any]) -> Array:
    """The weight (B, 1) of the own prediction in a corrected label."""
    entropy, most = entropy_of(p), math.log(p.shape[1])
    if kind == "proselflc":
        general = h(progress - params.get("offset", 0.5), params.get("b", 12.0))
    else:
        noted = entropy if params.get("reliability") == "batch" else np.full(train_size, most)
        noted[: len(entropy)] = entropy  # the examples of the batch are the first of the training set
        general = h(1 - noted.mean() / most - params.get("rho", 0.5), params.get("b1", 12.0))
    own: Array = general * (1 - entropy / most)[:, None]
    return own


def target_by_hand(kind: str, p: Array, q: Array, progress: float, train_size: int, params: dict[str, Any]) -> Array:
    if kind == "ls":
        epsilon = params.get("epsilon", 0.5)
        return (1 - epsilon) * q + epsilon / p.shape[1]
    if kind == "cp":
        penalty = params.get("penalty", 0.1)
        return (1 - penalty) * q - penalty * p
    own = weight_of_own(kind, p, progress, train_size, params)
    return (1 - own) * q + own * p


def pair_by_hand(
    ours: Array, theirs: Array, labels: list[int], progress: float, train_size: int, params: dict[str, Any]
) -> float:
    q, ps = np.eye(ours.shape[1])[labels], (softmax(ours), softmax(theirs))
    kind, eta, b2 = params.get("self_target", "mylc"), float(params.get("eta", 4.0)), params.get("b2", 0.0)
    targets = [target_by_hand(kind, p, q, progress, train_size, params) for p in ps]
    chi = math.log(ours.shape[1]) / eta * 2 * h(progress - 0.5, b2)
    passed = [entropy_of(p) < chi for p in ps]
    total = sum(-(t * np.log(p)).sum(1).mean() for t, p in zip(targets, ps, strict=True))
    for to, giver in ((0, 1), (1, 0)):
        received = -(targets[giver] * np.log(ps[to])).sum(1)[passed[giver]].sum()
        counts = {"own": passed[giver].sum(), "batch-mean": len(q), "paper-alg1": passed[to].sum()}
        total += received / max(1, counts[params.get("denominator", "batch-mean")])
    return float(total)
