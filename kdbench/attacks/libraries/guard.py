"""What surrounds every call into an attack library: the model it sees, its random numbers, what is believed of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from kdbench.inference.batching import is_out_of_memory
from kdbench.inference.prediction import Model

BATCH_SIZE = 250
"""AutoAttack's own. Random starts depend on it, so it is the same on every machine."""


class Guarded(nn.Module):
    """A model as the libraries want it: a module whose logits are float32 (n, C) in memory of their own.

    Of their own, as Square writes into the logits, and a model's logits may be a view of the pixels. Inside, pixels are
    laid out as convolutions like them; outside, images and gradients as the libraries' ``view`` needs them.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        laid_out: Tensor = _ChannelsLast.apply(images)
        return self.model(laid_out).float().clone()


class _ChannelsLast(torch.autograd.Function):
    """Another memory layout on the way in, the usual one for the gradient on the way out."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()


def as_pixels(images: Tensor) -> Tensor:
    """A copy, float32 (N, C, H, W) in [0, 1] and contiguous, of uint8 or float32 images."""
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images.clone()
    return pixels.contiguous()


@contextmanager
def own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Start the global generators of torch, NumPy and Python from ``seed``; give them back as they were.

    The libraries draw from all three and seed torch's themselves; a model that is random draws from torch's.
    """
    cuda = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(cuda):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def inside_library(name: str, seed: int, device: torch.device) -> Iterator[None]:
    """Run a library's attack: quietly, with random numbers of its own.

    Raises:
        KdbenchError: for whatever the library raises, but for a full memory, which a smaller batch mends.
    """
    try:
        with installation.quiet(), own_random_numbers(seed, device):
            yield
    except Exception as error:  # the library is not ours, and neither is the choice of what it raises
        if isinstance(error, KdbenchError) or is_out_of_memory(error):
            raise
        what = (str(error).splitlines() or [""])[0]
        raise KdbenchError(
            f"attack '{name}' failed inside its library: {type(error).__name__}: {what}",
            "check its options, and that the model's logits carry a gradient to the input",
        ) from error


def inside_ball(found: object, images: Tensor, eps: float) -> Tensor:
    """A library's result, clipped to the L-infinity ball of radius eps (up to rounding) and to [0, 1].

    A pixel that is not a number becomes the image's. A result that lies inside already keeps its bits.

    Args:
        found: what the library returned for ``images``.
        images: float32 (n, C, H, W) in [0, 1].

    Raises:
        KdbenchError: it is no tensor of the images' shape.

    >>> inside_ball(torch.tensor([[[[0.9, float("nan")]]]]), torch.tensor([[[[0.5, 0.25]]]]), 0.25).tolist()
    [[[[0.75, 0.25]]]]
    """
    if not isinstance(found, Tensor) or found.shape != images.shape:
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise KdbenchError(
            f"the attack returned {what}, expected images of shape {tuple(images.shape)}", "tell the library's author"
        )
    found = found.detach().to(images.device, torch.float32)
    return torch.where(found.isfinite(), found, images).clamp(images - eps, images + eps).clamp(0, 1)
