"""Transfer: examples of the source, judged by the target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kdbench.attacks import TransferResult, judge_transfer, pgd_best_iterate, transfer
from kdbench.errors import KdbenchError


def right(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(images).argmax(dim=1) == labels


def test_the_target_judges_what_the_source_made(problem: Any, network: Any) -> None:
    target = network(7)
    result = transfer(problem.model, target, problem.images, problem.labels, eps=0.02, batch_size=9)
    examples = pgd_best_iterate(problem.model, problem.images, problem.labels, eps=0.02, batch_size=9)
    assert torch.equal(result.clean_correct, right(target, problem.images, problem.labels))
    assert torch.equal(result.adversarial_correct, right(target, examples, problem.labels))
    assert not torch.equal(result.adversarial_correct, right(problem.model, examples, problem.labels))


def test_the_diagonal_is_the_white_box_attack(problem: Any) -> None:
    result = transfer(problem.model, problem.model, problem.images, problem.labels)
    assert result.clean_accuracy() == pytest.approx(35 / 41)
    assert result.accuracy() < 0.2


def test_accuracies_are_counts() -> None:
    clean = torch.tensor([True, True, True, False, False])
    attacked = torch.tensor([True, False, False, True, False])
    result = TransferResult(clean, attacked)
    assert result.clean_accuracy() == pytest.approx(3 / 5)
    assert result.accuracy() == pytest.approx(2 / 5)
    assert result.conditional_accuracy() == pytest.approx(1 / 3)
    with pytest.raises(KdbenchError, match="undefined"):
        TransferResult(~clean & clean, attacked).conditional_accuracy()


def test_examples_must_match_the_images(problem: Any) -> None:
    with pytest.raises(KdbenchError, match="examples have shape"):
        judge_transfer(problem.model, problem.images, problem.images[:3], problem.labels)
