"""Whether a model draws random numbers when it is measured."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.devices import widest
from kdbench.inference.batching import forward_batch
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import over_all, sample
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.inference.steadiness import draws_nothing

SAMPLE, NEAR, DRAWS = 128, 8, 64
"""Images answered twice; those of them nearest to a decision boundary; how often these are answered again."""
TOGETHER = 8
"""Of these answers, those that are looked at together: each look waits for the device."""
FEWEST_IMAGES, FEWEST_DRAWS = 16, 8
"""Of images so large that more would cost too much."""
ROUNDING = 1e-5
"""Relative change of logits that is none."""


def varies(model: Model, images: Tensor) -> bool:
    """Whether a model answers the same images differently, by more than rounding.

    Two passes over images of all kinds, then many over those whose two largest logits are closest: a network that is
    sure of most images may change its answer on those alone. Of models that change one answer in a hundred, each image
    by itself, 99.8 % are found. Draws start from a fixed seed; the global random numbers are left alone. A network
    whose parts show that it can't be random is not tried.

    Args:
        model: in eval mode, frozen, reads the images.
        images: uint8 or float32 (N, C, H, W) on the model's device; a sample is looked at.
    """
    if draws_nothing(model):
        return False
    cost = images.shape[2] * images.shape[3] / 32**2
    count, draws = max(FEWEST_IMAGES, int(SAMPLE / max(cost, 1))), max(FEWEST_DRAWS, int(DRAWS / max(cost, 1)))
    pixels = as_float(sample(images, count))
    with torch.no_grad(), own_random_numbers(0, pixels.device):
        logits = _logits(model, pixels)
        if bool(_differ(logits, _logits(model, pixels))):
            return True
        pixels = pixels[_margins(logits).argsort()[:NEAR]]
        logits = _logits(model, pixels)
        for begin in range(0, draws, TOGETHER):
            again = [_differ(logits, _logits(model, pixels)) for _ in range(min(TOGETHER, draws - begin))]
            if bool(torch.stack(again).any()):
                return True
    return False


def _logits(model: Model, pixels: Tensor) -> Tensor:
    size = forward_batch(pixels, pixels.device)
    return over_all(lambda part: widest(model(pixels[part])), len(pixels), size, pixels.device)


def _margins(logits: Tensor) -> Tensor:
    """How far the largest logit lies above the second, in ranges of the image's logits; (n,)."""
    if logits.shape[1] < 2:
        return torch.zeros(len(logits), device=logits.device)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return (first - second) / _range(logits)


def _range(logits: Tensor) -> Tensor:
    return (logits.amax(1) - logits.amin(1)).clamp(min=torch.finfo(logits.dtype).tiny)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Whether any row has another class, or a change that is large beside its range; a bool scalar, which nothing waits
    for. What is no number is no change."""
    change = (one - other).abs().nan_to_num(0.0).amax(1)
    return ((change > ROUNDING * _range(one)) | (one.argmax(1) != other.argmax(1))).any()
