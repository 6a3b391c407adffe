"""The recipe's optimiser and its learning rate, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from kdbench.specs import Recipe

FUSED = ("cpu", "cuda", "mps", "xpu")
"""Devices on which one kernel updates all parameters."""


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step (from 0) by the recipe's schedule.

    >>> recipe = Recipe(epochs=4, batch_size=1, lr=1.0, milestones=(2,), gamma=0.1)
    >>> [learning_rate(recipe, step, 4) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
    if recipe.schedule == "one-cycle":
        rise = recipe.warmup * steps
        return recipe.lr * ((step + 1) / (rise + 1) if step < rise else (steps - step) / (steps - rise))
    epoch = step * recipe.epochs // steps
    if recipe.schedule == "exponential":
        return float(recipe.lr * recipe.gamma**epoch)
    passed = sum(epoch >= milestone for milestone in recipe.milestones)
    return float(recipe.lr * recipe.gamma**passed)


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter], device: torch.device) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam with beta1 = momentum and beta2 = .999; both add weight decay to the gradient."""
    trained = list(parameters)
    fused = device.type in FUSED and all(parameter.is_floating_point() for parameter in trained)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            trained, lr=recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay, fused=fused
        )
    sgd = torch.optim.SGD(
        trained,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )
    if fused and recipe.momentum:
        # The fused kernel wants all momentum buffers or none; a parameter's first gradient may come later than others'.
        for parameter in trained:
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd
