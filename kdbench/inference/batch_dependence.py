"""Whether a model's answer to an image depends on the images beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.devices import widest
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import sample
from kdbench.inference.prediction import frozen
from kdbench.inference.random_numbers import own_random_numbers

IMAGES = 8
"""Images that are looked at, and as many beside them."""
LIMIT = 1e-3
"""Relative change of an image's logits that rounding may make."""


def batch_dependence(model: Model, images: Tensor, device: torch.device) -> float | None:
    """The largest change of an image's logits with the other images of its batch, relative to its largest logit.

    The same images are answered beside copies of one other image and beside copies of another one, from the same random
    state: 0 for a network whose batch norms have running statistics, about 1 for one that normalises by its batch.
    None where it can't be found out, as the model's draws do not follow the global random numbers.

    Args:
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes).
        images: uint8 or float32 (N, C, H, W), on any device.
        device: of the model.
    """
    pixels = as_float(sample(images, IMAGES + 2).to(device))
    looked, beside = pixels[:-2], pixels[-2:]
    if len(looked) == 0:
        return None
    with frozen(model, pixels, fold=False) as ready, torch.no_grad():

        def answer(other: Tensor) -> Tensor:
            with own_random_numbers(0, device):
                return widest(ready(torch.cat([looked, other.expand_as(looked)]))[: len(looked)])

        first, again, otherwise = answer(beside[:1]), answer(beside[:1]), answer(beside[1:])
    scale = first.abs().amax(1).clamp(min=torch.finfo(first.dtype).tiny)
    repeated, changed = (float(((first - one).abs().amax(1) / scale).amax()) for one in (again, otherwise))
    return changed if repeated <= LIMIT else None
