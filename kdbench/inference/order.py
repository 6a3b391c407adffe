"""The order in which images are measured: one fixed shuffle, so that no batch holds a single class.

Image sets are sorted by class. Where an answer depends on the other images of a batch, or one random draw serves a
whole batch, consecutive batches would measure the sorting. Results are always in the caller's order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches

SEED = 0


def mixed(chosen: Tensor) -> Tensor:
    """Places of True in bool (N,), int64 (n,) on its device: a part of the one shuffled order of N images."""
    order = mixed_all(len(chosen), chosen.device)
    return order[chosen[order]]


def mixed_all(count: int, device: torch.device) -> Tensor:
    """``mixed`` of all of ``count`` images, int64 (count,). Nothing waits for the device."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(SEED)).to(device)


def sample(images: Tensor, count: int) -> Tensor:
    """At most ``count`` of images (N, C, H, W), spread over the set: all of its kinds, whatever it is sorted by."""
    return images[mixed_all(len(images), images.device)[:count].sort().values]


def over_all(work: Callable[[Tensor], Tensor], count: int, batch_size: int, device: torch.device) -> Tensor:
    """``work`` of all places 0 ... count - 1, (count, ...), in their own order; batches are taken in the mixed one.

    Args:
        work: of places, int64 (n,) ascending on ``device``, to n results; pure, as ``in_batches`` may repeat it.
        count: at least 1.
        batch_size: largest n.

    Raises:
        KdbenchError: no images.
    """
    results: Tensor | None = None
    for part, found in in_batches(work, mixed_all(count, device), batch_size):
        if results is None:
            results = found.new_empty((count, *found.shape[1:]))
        results[part] = found
    if results is None:
        raise KdbenchError("found no images", "give at least one")
    return results
