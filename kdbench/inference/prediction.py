"""Running a frozen network over many images, and what is expected of its logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdbench.devices import float64
from kdbench.errors import KdbenchError
from kdbench.inference.batching import forward_batch
from kdbench.inference.folding import folded
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import over_all, sample
from kdbench.inference.pixels import readable
from kdbench.inference.precision import full_precision
from kdbench.inference.randomness import SAMPLE, varies

_made_ready: list[tuple[Model, bool]] = []
"""What the measurements that enclose this one are of, and whether folding was tried: not to be made ready again. One
thread's at a time, as measurements exclude each other."""


class NotFiniteError(KdbenchError):
    """A network's logits are NaN or infinite."""


@contextmanager
def frozen(model: Model, images: Tensor | None = None, *, fold: bool = True) -> Iterator[Model]:
    """Put every submodule in eval mode and freeze every parameter; restore both, one by one, on exit.

    Measuring a model inside its training must not change the training that follows. A callable that is no
    ``nn.Module`` is left as it is.

    With ``images``, uint8 or float32 (N, C, H, W), the model is made ready for a measurement on them: float32 products
    are exact on their device, it reads pixels in any layout and never writes into them (``readable``), and what is
    yielded has batch norms folded where logits stay the same up to rounding. ``fold=False`` folds nothing; a call
    without images yields the model itself. With images one thread measures at a time, and others wait.
    """
    if images is not None:
        with full_precision(images.device), frozen(model):
            if any(model is known and (was_folded or not fold) for known, was_folded in _made_ready):
                yield model
                return
            ready = readable(model, images)
            ready = folded(ready, images) if fold and isinstance(ready, nn.Module) else ready
            _made_ready.append((ready, fold))
            try:
                yield ready
            finally:
                _made_ready.pop()
        return
    if not isinstance(model, nn.Module):
        yield model
        return
    # A frozen script module has no mode, and none of them has requires_grad_.
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


def freeze(network: nn.Module, device: torch.device | None = None) -> nn.Module:
    """``frozen`` for good, in place: eval mode, no gradients, on the device (default: CPU)."""
    return network.eval().requires_grad_(False).to(device or torch.device("cpu"))


def folded_copy(network: nn.Module, images: Tensor, device: torch.device) -> nn.Module:
    """What ``frozen`` yields for images like these, kept for many measurements instead of being made for each.

    The same logits up to rounding, batch norms folded; a network that can't be folded, and reads any pixels, is
    returned as it is. It shares with the network what is not rewritten, so that a measurement of it begins with
    ``frozen`` as well. ``images`` are uint8 or float32 (N, C, H, W), on any device.
    """
    with frozen(network, sample(images, SAMPLE).to(device)) as fast:
        assert isinstance(fast, nn.Module)
        return fast


def predict(
    model: Model, images: Tensor, *, device: torch.device, batch_size: int | None = None, fold: bool = True
) -> Tensor:
    """Logits (N, C) float32 on the CPU for images (N, 3, H, W), uint8 or float32 in [0, 1].

    Eval mode, float32, last incomplete batch included, the model's mode restored. Batches are taken in one fixed
    shuffled order of the images, the logits come back in theirs. ``fold=False`` folds nothing: finding out whether a
    network may be folded costs about as much as a pass over 1,000 images. Raises ``NotFiniteError`` for logits that are
    NaN or infinite.
    """
    with frozen(model, sample(images, SAMPLE).to(device), fold=fold) as fast, torch.no_grad():

        def logits(part: Tensor) -> Tensor:
            pixels = as_float(images[part].to(device)).contiguous(memory_format=torch.channels_last)
            return fast(pixels).float()

        size = forward_batch(images, device) if batch_size is None else batch_size
        found = over_all(logits, len(images), size, images.device).cpu()
    if not found.isfinite().all():
        raise NotFiniteError(
            "the network's logits are not finite", "it diverged: train it with a smaller learning rate"
        )
    return found


def is_random(model: Model, images: Tensor) -> bool:
    """Whether a model answers differently on the same images, uint8 or float32 (N, C, H, W), by more than rounding.

    Give all images that it is to be measured on: a sample of all kinds is answered twice, those of it that are nearest
    to a decision boundary many times. The global random numbers are left as they were, and decide nothing.
    """
    with frozen(model, images, fold=False) as ready:
        return varies(ready, images)


def check_logits(logits: object, count: int, highest: int) -> Tensor:
    """The logits of ``count`` images, (count, classes), if they can be that.

    ``highest`` is the highest label, as a number of the host: looking at labels here would wait for the device.

    Raises:
        KdbenchError: no tensor, not two-dimensional, not one row per image, or fewer classes than the labels need.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count:
        found = f"logits of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise KdbenchError(
            f"the model returned {found} for {count} images, expected ({count}, classes)",
            "make the model map pixels (n, C, H, W) to logits (n, classes)",
        )
    if highest >= logits.shape[1]:
        raise KdbenchError(
            f"label {highest} found, but the model has {logits.shape[1]} classes",
            "measure the model on the data set it was trained for",
        )
    return logits


def refuse_probabilities(logits: Tensor) -> None:
    """Raise for rows that are distributions: a softmax inside the model flattens every gradient and every confidence.

    Raises:
        KdbenchError: all values of (n, classes) lie in [0, 1] and each row sums to 1.
    """
    sums = float64(logits).sum(dim=1)
    if len(logits) and bool(((logits >= 0) & (logits <= 1)).all()) and bool((sums - 1).abs().le(1e-3).all()):
        raise KdbenchError("the model returned probabilities (rows in [0, 1] that sum to 1), expected logits",
                           "leave the softmax out of the model")  # fmt: skip
