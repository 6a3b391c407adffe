from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from kdbench.models import build
from kdbench.specs import Recipe
from kdbench.testing import TINY
from tests.training.spies import Spy, run


def test_steps_equal_a_hand_written_sgd(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=2, batch_size=10, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01, milestones=(1,), gamma=0.1,
        augmentation="none",
    )  # fmt: skip
    spy = Spy()
    trained = run(spy, recipe, tmp_path)
    network = build(TINY, num_classes=10, seed=1).train()
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    for step, batch in enumerate(spy.batches):
        network.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        for p, v in zip(network.parameters(), velocity, strict=True):
            assert p.grad is not None
            gradient = p.grad + 0.01 * p.detach()
            v.mul_(0.8).add_(gradient)
            p.data -= (0.1 if step < 3 else 0.01) * (gradient + 0.8 * v)
    for expected, found in zip(network.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_adam_is_kingma_and_bas(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=3, batch_size=11, lr=0.01, momentum=0.8, weight_decay=0.1, optimizer="adam", augmentation="none"
    )
    spy = Spy()
    trained = run(spy, recipe, tmp_path)
    network = build(TINY, num_classes=10, seed=1).train()
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in network.parameters()]
    for step, batch in enumerate(spy.batches, start=1):
        network.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        for p, (first, second) in zip(network.parameters(), moments, strict=True):
            assert p.grad is not None
            gradient = p.grad + 0.1 * p.detach()
            first.mul_(0.8).add_(0.2 * gradient)
            second.mul_(0.999).add_(0.001 * gradient**2)
            p.data -= 0.01 * (first / (1 - 0.8**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    for expected, found in zip(network.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
