"""Torch's tracing, random numbers and default dtype belong to the process: calls in threads wait for each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdbench
from kdbench import models
from kdbench.running.evaluated import Evaluation
from kdbench.running.evaluation import evaluate


class Noisy(nn.Module):
    """Weights drawn anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.network = models.create("wrn-10-1", num_classes=10, seed=3)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels)
        return logits + 0.1 * torch.randn(1, 10)


def made(number: int) -> nn.Module:
    return Noisy() if number % 2 else models.create("wrn-10-1", num_classes=10, seed=number)


def numbers(found: Evaluation) -> list[Any]:
    return [(score.task, score.metric, score.value, score.ci_low, score.ci_high) for score in found.scores]


def test_four_models_in_threads_get_the_numbers_of_one_after_another(tiny_suite: Path) -> None:
    def measured(number: int) -> list[Any]:
        return numbers(evaluate(made(number), str(tiny_suite), tasks=["clean", "calibration", "pgd"]))

    torch.manual_seed(0)
    alone = [measured(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measured, range(4)))
    assert together == alone


def test_attacks_in_threads_on_one_model_too() -> None:
    model = models.create("wrn-10-1", num_classes=10, seed=0).train()
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = model.eval()(images).argmax(1)
    model.train()

    def attacked(seed: int) -> list[bool]:
        found = kdbench.attacks.run("pgd", model, images, labels, eps=0.02, seed=seed, options={"steps": 2})
        return [*found.robust.tolist(), kdbench.attacks.is_random(model, images)]

    alone = [attacked(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(attacked, range(4))) == alone
    assert model.training
