"""A random model is found by images of all kinds and by those near a decision boundary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdbench.inference.prediction import is_random


def images(count: int = 1000) -> Tensor:
    """Brightness rises from image to image: sorted by class, dark and light."""
    return torch.linspace(0, 1, count)[:, None, None, None].expand(count, 3, 4, 4).clone()


class Sure(nn.Module):
    """The same logits for all images of a class, but those within ``width`` of the boundary: it draws their class."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, pixels: Tensor) -> Tensor:
        away = pixels.mean((1, 2, 3)) - 0.5
        noise = self.width * (2 * torch.rand(len(away)) - 1)
        votes = (away + noise > 0).float()
        return torch.stack([1 - votes, votes], 1).log1p() + 1e-3 * torch.stack([-away, away], 1)


class Flipping(nn.Module):
    """Turns one answer in a hundred around, each image by itself."""

    def forward(self, pixels: Tensor) -> Tensor:
        sign = torch.where(torch.rand(len(pixels)) < 0.01, -1.0, 1.0)
        away = sign * (pixels.mean((1, 2, 3)) - 0.3).sign() * 5
        return torch.stack([-away, away], 1)


class Steady(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        away: Tensor = self.dropout(pixels).mean((1, 2, 3)) - 0.5
        return torch.stack([-away, away], 1)


@pytest.mark.parametrize("model", [Sure(0.01), Flipping(), Sure(0.2)])
def test_a_network_that_is_sure_of_most_images_is_found_to_be_random(model: nn.Module) -> None:
    few = images()[:8]
    assert torch.equal(model(few), model(few)) or isinstance(model, Flipping)  # eight images of one class don't show it
    assert is_random(model, images())


def test_dropout_that_is_switched_off_is_not_random() -> None:
    assert not is_random(Steady().train(), images())


def test_constant_and_broken_answers_are_not_random() -> None:
    assert not is_random(lambda pixels: torch.zeros(len(pixels), 2), images())
    assert not is_random(lambda pixels: torch.full((len(pixels), 2), torch.nan), images())
    assert not is_random(lambda pixels: torch.ones(len(pixels), 1), images())


def test_noise_on_logits_with_a_large_common_part_is_seen() -> None:
    """Softmax does not see the common part."""
    assert is_random(lambda pixels: 1e6 + torch.randn(len(pixels), 3), images(40))


def test_the_question_moves_no_random_number_and_hangs_on_none() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    answers = {is_random(Flipping(), images()) for _ in range(5)}
    assert torch.equal(torch.rand(3), expected)
    assert answers == {True}
