"""Stratified subsets that depend on labels and a seed alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import KdbenchError


def stratified_subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """Draw ``size`` indices with as equal a number of each class as possible.

    A class with too few samples gives all it has and the others make up for it; what does not divide evenly goes to
    classes drawn by the seed.

    Args:
        labels: int64 (N,).
        size: 0 to N.
        seed: of a NumPy PCG64 generator, independent of torch's state and of the device.

    Returns:
        int64 (size,), sorted, without repeats.

    Raises:
        KdbenchError: ``size`` is negative or above N.

    >>> stratified_subset(torch.tensor([0, 0, 0, 1, 1, 2]), 5, seed=0).shape
    torch.Size([5])
    """
    values = labels.cpu().numpy()
    if not 0 <= size <= len(values):
        raise KdbenchError(f"a subset of {size} images was asked of a set of {len(values)}", "ask for fewer")
    random = np.random.Generator(np.random.PCG64(seed))
    members = {int(label): np.flatnonzero(values == label) for label in np.unique(values)}
    taken = _shares({label: len(rows) for label, rows in members.items()}, size, random)
    picks = [random.permutation(rows)[: taken[label]] for label, rows in members.items()]
    chosen = np.sort(np.concatenate(picks)) if picks else np.empty(0)
    return torch.from_numpy(chosen.astype(np.int64))


def _shares(available: dict[int, int], size: int, random: np.random.Generator) -> dict[int, int]:
    taken = dict.fromkeys(available, 0)
    left = size
    while left:
        # Every pass fills the smallest open class or hands out the last few, so there are at most C + 1 passes.
        open_classes = [label for label in available if taken[label] < available[label]]
        if left < len(open_classes):
            open_classes = sorted(random.permutation(open_classes)[:left].tolist())
        room = min(available[label] - taken[label] for label in open_classes)
        step = min(room, left // len(open_classes))
        for label in open_classes:
            taken[label] += step
        left -= step * len(open_classes)
    return taken
