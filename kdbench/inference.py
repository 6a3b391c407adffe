"""Running a frozen network over many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError
from kdbench.precision import full_precision

BATCH_SIZE = 500
Model = Callable[[Tensor], Tensor]
"""Pixels, float32 (n, 3, H, W) in [0, 1], to logits (n, C); usually an ``nn.Module``."""
Result = TypeVar("Result")


class NotFiniteError(KdbenchError):
    """A network's logits are NaN or infinite."""


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Put every submodule in eval mode and freeze every parameter; restore both, one by one, on exit.

    Measuring a model inside its training must not change the training that follows. A callable that is no
    ``nn.Module`` is left as it is.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        model.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


def predict(model: nn.Module, images: Tensor, *, device: torch.device, batch_size: int = BATCH_SIZE) -> Tensor:
    """Logits (N, C) float32 on the CPU for images (N, 3, H, W), uint8 or float32 in [0, 1].

    Eval mode, float32, last incomplete batch included, the model's mode restored. Raises ``NotFiniteError`` for logits
    that are NaN or infinite.
    """

    def logits(index: Tensor) -> Tensor:
        part = images[index].to(device)
        pixels = part.float().div_(255) if part.dtype == torch.uint8 else part
        found: Tensor = model(pixels.contiguous(memory_format=torch.channels_last)).float().cpu()
        return found

    index = torch.arange(len(images), device=images.device)
    with full_precision(device), frozen(model), torch.no_grad():
        found = torch.cat([part for _, part in in_batches(logits, index, batch_size)])
    if not found.isfinite().all():
        raise NotFiniteError(
            "the network's logits are not finite", "it diverged: train it with a smaller learning rate"
        )
    return found


def in_batches(work: Callable[[Tensor], Result], index: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Result]]:
    """Yield ``(part, work(part))`` for consecutive parts of ``index``.

    When ``work`` runs out of device memory its batch is tried again at half the size, and the smaller size stays for
    the rest; a batch of one that doesn't fit raises. ``work`` must be pure: a failed try leaves nothing behind.

    Args:
        work: called with int64 (n,), n <= batch_size.
        index: int64 (N,).
        batch_size: largest part.
    """
    if batch_size < 1:
        raise KdbenchError(f"batch_size found {batch_size}, expected at least 1", "give a positive number")
    begin, size = 0, batch_size
    while begin < len(index):
        part = index[begin : begin + size]
        result = _try(work, part)
        if result is None:
            size = max(1, len(part) // 2)
            continue
        yield part, result[0]
        begin += len(part)


def _try(work: Callable[[Tensor], Result], part: Tensor) -> tuple[Result] | None:
    """The result, or None when the device's memory was too small and a smaller batch can be tried.

    A function of its own, so that the exception, whose traceback holds the tensors of the failed try, is gone before
    the next one.
    """
    try:
        return (work(part),)
    except torch.OutOfMemoryError:
        if len(part) == 1:
            raise
    torch.cuda.empty_cache()
    return None
