"""Test images that are watched while a network trains. They decide nothing."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

SOFTMAX = "softmax.npz"
"""File of a training with softmax vectors of watched test images, epoch by epoch."""
WATCHED = 100
"""Monitored test images whose softmax vectors are kept from each epoch."""


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Test images watched after each epoch. Their accuracy is logged and decides nothing."""

    images: Tensor
    labels: Tensor

    def watched(self) -> Tensor:
        """Indices of at most ``WATCHED`` of them, evenly spread, as the classes lie one after the other."""
        return torch.arange(0, len(self.labels), max(1, -(-len(self.labels) // WATCHED)))
