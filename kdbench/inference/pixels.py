"""Pixels as a model can read them: layout, dtype, and memory that it may write into."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import sample
from kdbench.inference.random_numbers import own_random_numbers

TRIED = 2
"""Images that a model is tried on."""


def readable(model: Model, images: Tensor) -> Model:
    """``model`` itself where it reads float32 pixels in any layout and leaves them alone; else an ``Adapter`` of it.

    Measurements feed pixels channels last, which convolutions are fast in. A network that flattens with ``view`` can't
    read that, one whose weights are float64 reads float64, and one that changes its input in place needs pixels of its
    own. A model that can't read the images at all comes back as it is: its own error is raised where it is used.

    Args:
        model: in eval mode, frozen.
        images: uint8 or float32 (N, C, H, W).
    """
    if isinstance(model, Adapter):
        return model
    pixels = as_float(sample(images, TRIED))
    with torch.no_grad(), own_random_numbers(0, pixels.device):
        for dtype in dict.fromkeys((torch.float32, _dtype(model))):
            plain, last = (
                _try(model, pixels.to(dtype).clone(memory_format=layout))
                for layout in (torch.contiguous_format, torch.channels_last)
            )
            if plain.logits is not None:
                contiguous, own = last.logits is None, plain.written or last.written
                adapted = dtype != torch.float32 or contiguous or own
                return Adapter(model, dtype, contiguous=contiguous, own=own) if adapted else model
    return model


def lay_out(network: nn.Module, images: Tensor, name: str) -> tuple[torch.memory_format, Tensor]:
    """Lay a network's weights out for convolutions, in place, if it still reads its images then.

    Args:
        network: in eval mode, frozen, not random.
        images: float32 (n, C, H, W).
        name: what an error calls it.

    Returns:
        The layout of the images that it is to be given, and its logits of these images.

    Raises:
        KdbenchError: it changes its images in place: in a training they are other networks' too.
    """
    for layout in (torch.channels_last, torch.contiguous_format):
        network.to(memory_format=layout)
        pixels = images.clone(memory_format=layout)
        trial = _try(network, pixels)
        if trial.written:
            raise KdbenchError(f"network {name} changes its input in place", "write x = x - mean, not x.sub_(mean)")
        if trial.logits is not None:
            return layout, trial.logits
    return layout, network(images)  # its own error


class Adapter(nn.Module):
    """A model that gets pixels of a dtype, in a layout, or in memory of its own; gradients pass through.

    ``contiguous``: it reads contiguous pixels alone.
    """

    def __init__(self, model: Model, dtype: torch.dtype, *, contiguous: bool, own: bool) -> None:
        super().__init__()
        self.model, self.dtype, self.contiguous, self.own = model, dtype, contiguous, own
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.dtype)
        pixels = pixels.contiguous() if self.contiguous else pixels
        return self.model(pixels.clone() if self.own else pixels)


@dataclass(frozen=True)
class _Trial:
    logits: Tensor | None
    """None: the model can't read the pixels."""
    written: bool


def _try(model: Model, pixels: Tensor) -> _Trial:
    """The answer to these pixels, and whether the model wrote into them: torch counts that, but for what goes through
    ``.data`` or NumPy; and what is written may be what stood there."""
    before, kept = pixels._version, pixels.clone()
    try:
        logits = model(pixels)
    except RuntimeError:  # what torch raises for strides and dtypes that an operation can't work on
        return _Trial(None, False)
    return _Trial(logits, pixels._version != before or not torch.equal(pixels, kept))


def _dtype(model: Model) -> torch.dtype:
    """Of the first floating-point parameter."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
