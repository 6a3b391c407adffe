"""Test images that are watched while a network trains. They decide nothing."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from kdbench.attacks.best_iterate import pgd_best_iterate
from kdbench.data.subset import stratified_subset
from kdbench.inference.prediction import predict
from kdbench.specs import Watch

SOFTMAX = "softmax.npz"
"""File of a training with softmax vectors of watched test images, epoch by epoch."""
WATCHED = 100
"""Monitored test images whose softmax vectors are kept from each epoch."""


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Test images watched after each epoch. Their accuracy is logged and decides nothing."""

    images: Tensor
    labels: Tensor
    attack: Watch | None = None
    """Attack on a stratified part of them."""

    def watched(self) -> Tensor:
        """Indices of at most ``WATCHED`` of them, evenly spread, as the classes lie one after the other."""
        return torch.arange(0, len(self.labels), max(1, -(-len(self.labels) // WATCHED)))

    def attacked(self, predictor: nn.Module, device: torch.device) -> dict[str, float | int]:
        """Accuracy under the attack, as a log has it; {} without one. A random predictor answers once."""
        if self.attack is None:
            return {}
        index = stratified_subset(self.labels, min(self.attack.images, len(self.labels)), 0)
        images, labels = self.images[index].to(device), self.labels[index]
        examples = pgd_best_iterate(
            predictor, images, labels.to(device),
            eps=self.attack.eps, step_size=self.attack.step_size, steps=self.attack.steps,
        )  # fmt: skip
        correct = predict(predictor, examples, device=device, fold=False).argmax(1) == labels
        return {"test_pgd_accuracy": float(correct.double().mean()), "test_pgd_n": len(labels)}
