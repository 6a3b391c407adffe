"""How many images go through a network at once, and what happens when they are too many."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdbench.devices import memory, release_memory
from kdbench.errors import KdbenchError

Result = TypeVar("Result")

CPU_PIXELS, PIXELS = 128 * 32 * 32, 1024 * 32 * 32
"""Pixels of a batch that only goes forward: on a CPU few enough to stay near the caches."""
CPU_LARGEST, LARGEST = 512, 4096
"""Images of a batch that goes forward and back, whatever memory there is."""
CACHED_BYTES = 64 * 2**20
"""What a CPU keeps for one backward pass without paying the system for fresh pages at every step."""
SHARE_OF_FREE_MEMORY = 0.25


_noting: list[list[int]] = []
"""One thread's at a time, as measurements exclude each other."""


@contextlib.contextmanager
def noted_cuts() -> Iterator[list[int]]:
    """The sizes to which batches were cut meanwhile because the memory was too small, in order."""
    sizes: list[int] = []
    _noting.append(sizes)
    try:
        yield sizes
    finally:
        _noting.remove(sizes)


def in_batches(work: Callable[[Tensor], Result], index: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Result]]:
    """Yield ``(part, work(part))`` for consecutive parts of ``index``, each in ascending order.

    When ``work`` runs out of memory its batch is tried again at half the size, and the smaller size stays for the rest;
    a batch of one that doesn't fit raises. ``work`` must be pure: a failed try leaves nothing behind.

    Args:
        work: called with int64 (n,), n <= batch_size.
        index: int64 (N,).
        batch_size: largest part.
    """
    if batch_size < 1:
        raise KdbenchError(f"batch_size found {batch_size}, expected at least 1", "give a positive number")
    begin, size = 0, batch_size
    while begin < len(index):
        part = index[begin : begin + size].sort().values
        result = _try(work, part)
        if result is None:
            size = max(1, len(part) // 2)
            for sizes in _noting:
                sizes.append(size)
            continue
        yield part, result[0]
        begin += len(part)


def forward_batch(images: Tensor, device: torch.device) -> int:
    """Images of this size, (N, C, H, W), for one forward pass without gradients; at least 1."""
    pixels = CPU_PIXELS if device.type == "cpu" else PIXELS
    return max(1, pixels // (images.shape[2] * images.shape[3]))


def check_statistics(network: nn.Module, batch_size: int) -> None:
    """Raise ``KdbenchError`` for batches of one image where batch norms take their statistics from a batch."""
    if batch_size < 2 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise KdbenchError(
            f"batch_size found {batch_size}, expected at least 2: the network's batch norms take statistics of a batch",
            "train on larger batches, or a network without batch norm",
        )


def held(images: Tensor, device: torch.device) -> Tensor:
    """Images (N, C, H, W) on the device, unless they would take more than a quarter of its free memory: then where they
    are, for ``rows`` to bring what is needed."""
    if device.type != "cpu" and images.nbytes > SHARE_OF_FREE_MEMORY * _free_bytes(device):
        return images
    return images.to(device)


def rows(images: Tensor, index: Tensor) -> Tensor:
    """``images[index]`` on the device of ``index``, wherever the images are held."""
    return images[index.to(images.device)].to(index.device)


def backward_batch(model: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """How many images like these fit one forward and backward pass: a power of two, at least 1.

    What autograd keeps of ``images``, float32 (n, C, H, W), is measured, and set against the memory that is free on
    their device; on a CPU, where small batches run as fast as large ones, also against the size of its caches.
    """
    each = max(1, _saved_bytes(model, images) // len(images))
    budget, largest = SHARE_OF_FREE_MEMORY * _free_bytes(images.device), LARGEST
    if images.device.type == "cpu":
        budget, largest = min(budget, max(CACHED_BYTES, 8 * each)), CPU_LARGEST
    fitting = min(max(1.0, budget / each), largest)
    return int(2 ** math.floor(math.log2(fitting)))


def _saved_bytes(model: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass to ``images``, weights not counted."""
    own = {p.data_ptr() for p in model.parameters()} if isinstance(model, nn.Module) else set()
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(images.clone().requires_grad_(True))
    return sum(sizes.values())


def _free_bytes(device: torch.device) -> int:
    found = memory(device)
    if found is not None:
        return found[0]
    try:  # also for an accelerator whose memory nobody counts: a guess, which in_batches halves where it is too much
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # macOS does not report it
        return 4 * 2**30
    [available] = [line for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(available.split()[1])


def _try(work: Callable[[Tensor], Result], part: Tensor) -> tuple[Result] | None:
    """The result, or None when the memory was too small and a smaller batch can be tried.

    A function of its own, so that the exception, whose traceback holds the tensors of the failed try, is gone before
    the next one.
    """
    try:
        return (work(part),)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if len(part) == 1 or not is_out_of_memory(error):
            raise
    release_memory()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """On a CPU, on Apple's GPUs and in some calls of drivers torch raises a plain RuntimeError that only its text
    distinguishes from others."""
    texts = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
             "CUDNN_STATUS_ALLOC_FAILED")  # fmt: skip
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in texts)
