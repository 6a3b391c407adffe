"""What surrounds every call into an attack library: the model it sees, its prints, its exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from kdbench.inference.batching import is_out_of_memory
from kdbench.inference.model import Model
from kdbench.inference.random_numbers import own_random_numbers


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


@contextmanager
def inside_library(name: str, seed: int, device: torch.device) -> Iterator[None]:
    """Run a library's attack: quietly, with global random numbers of its own.

    Raises:
        KdbenchError: for whatever the library raises, but for a full memory, which a smaller batch fixes.
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
