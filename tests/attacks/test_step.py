"""Steps by hand."""

from __future__ import annotations

import pytest
import torch

from kdbench.attacks.step import STEPS, Momentum, projected_step


def test_a_step_is_projected_on_ball_and_pixel_range() -> None:
    origin = torch.tensor([0.5, 0.5, 0.02, 0.98]).view(1, 1, 1, 4)
    direction = torch.tensor([3.0, -1e-9, -2.0, 5.0]).view(1, 1, 1, 4)
    found = projected_step(origin, origin, direction, eps=0.1, step_size=0.05)
    assert found.flatten().tolist() == pytest.approx([0.55, 0.45, 0.0, 1.0], abs=1e-7)
    again = projected_step(found, origin, direction, eps=0.06, step_size=0.05)
    assert again.flatten().tolist() == pytest.approx([0.56, 0.44, 0.0, 1.0], abs=1e-7)


def test_the_sign_rule_follows_the_present_gradient() -> None:
    rule = STEPS["sign"]()
    for gradient in torch.randn(3, 2, 1, 2, 2):
        assert torch.equal(rule.direction(gradient), gradient)


def test_momentum_sums_gradients_of_length_one() -> None:
    """g_1 = (3, -1) / 4, g_2 = g_1 / 2 + (1, 1) / 2, and a gradient of zero adds nothing."""
    rule = Momentum(decay=0.5)
    steps = [torch.tensor(values).view(1, 1, 1, 2) for values in ([3.0, -1.0], [10.0, 10.0], [0.0, 0.0])]
    found = [rule.direction(gradient).flatten().tolist() for gradient in steps]
    assert found == [[0.75, -0.25], [0.875, 0.375], [0.4375, 0.1875]]


def test_momentum_goes_on_with_the_images_that_stay() -> None:
    gradients = torch.randn(2, 5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    whole, part = STEPS["momentum"](), STEPS["momentum"]()
    whole.direction(gradients[0]), part.direction(gradients[0])
    stay = torch.tensor([0, 3])
    part.keep(stay)
    assert torch.equal(part.direction(gradients[1][stay]), whole.direction(gradients[1])[stay])
