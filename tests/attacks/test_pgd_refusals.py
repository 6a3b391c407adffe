"""What PGD refuses: arguments out of range, and models that give no numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.attacks import pgd
from kdbench.attacks._tally import read_off
from kdbench.attacks.trajectory import Ascent, LastIterate, Trajectory
from kdbench.errors import KdbenchError


def identity(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :4]


def two(images: Tensor) -> Tensor:
    return 3 * images.flatten(1)[:, :2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eps": -0.1}, "eps is -0.1"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"step_size": -1.0}, "step_size is -1.0"),
        ({"steps": -1}, "steps is -1"),
        ({"steps": 0}, "steps is 0, expected >= 1"),
        ({"eps": 1.5}, "eps is 1.5, expected 0 to 1"),
        ({"step_size": 1.5}, "step_size is 1.5"),
        ({"votes": 0}, "votes is 0"),
        ({"model": lambda images: identity(images).softmax(dim=1)}, "returned probabilities"),
        ({"steps": ()}, r"steps is \(\)"),
        ({"steps": (3, -2)}, "steps is"),
        ({"restarts": 0}, "restarts is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"gradient_draws": 0}, "gradient_draws is 0"),
        ({"images": torch.rand(3, 8, 8)}, "shape"),
        ({"images": torch.rand(0, 3, 8, 8)}, "shape"),
        ({"images": torch.rand(5, 3, 8, 8) + 0.5}, "expected \\[0, 1\\]"),
        ({"images": torch.rand(5, 3, 8, 8) - 0.5}, "expected \\[0, 1\\]"),
        ({"images": torch.full((5, 3, 8, 8), float("nan"))}, "expected \\[0, 1\\]"),
        ({"images": torch.rand(5, 3, 8, 8).double()}, "float64"),
        ({"labels": torch.zeros(4, dtype=torch.long)}, "labels have shape"),
        ({"labels": torch.zeros(5)}, "float32"),
        ({"labels": torch.tensor([0, 1, 2, 3, -1])}, "class indices"),
        ({"labels": torch.tensor([0, 1, 2, 3, 4])}, "has 4 classes"),
        ({"model": lambda images: images.flatten(1).sum(dim=1)}, "logits of shape"),
        ({"model": lambda images: images.flatten(1)[:1, :4]}, "logits of shape"),
        ({"model": lambda images: identity(images) / 0 * 0}, "not finite"),
        ({"model": lambda images: identity(images).detach()}, "no gradient"),
        ({"model": lambda images: torch.zeros(5, 4, requires_grad=True) * 1}, "no gradient"),
        ({"start": torch.rand(2, 5, 3, 8, 8)}, "start has shape"),
        ({"start": torch.full((5, 3, 8, 8), 0.6)}, "start of restart 0"),
        ({"start": "unifrom"}, "no start named 'unifrom' .did you mean 'uniform'"),
        ({"objective": "marign"}, "no objective named 'marign' .did you mean 'margin'"),
        ({"step_rule": "sgn"}, "no step rule named 'sgn' .did you mean 'sign'"),
        ({"iterate": "lats"}, "no rule over iterates named 'lats' .did you mean 'last'"),
        ({"objective": "targeted-dlr"}, "objective 'targeted-dlr' needs target classes"),
        ({"objective": "dlr", "targets": torch.ones(5)}, "targets: labels are torch.float32"),
        ({"objective": "dlr", "targets": torch.tensor([1, 2, 3, 0, 1])}, "choose targeted-dlr"),
        ({"objective": "targeted-margin", "targets": torch.tensor([1, 2, 3, 3, 1])}, "its image's true class"),
        ({"objective": "targeted-margin", "targets": torch.tensor([1, 2, 3, 0, 4])}, "target 4 found"),
        ({"objective": "dlr", "model": two, "labels": torch.tensor([0, 1, 0, 1, 0])}, "compares 3 logits, .* has 2"),
        ({"full_restarts": torch.tensor([5])}, "expected 0 to 4"),
        ({"full_restarts": torch.tensor([True, False])}, "full_restarts"),
        ({"full_restarts": torch.tensor([0.5])}, "full_restarts"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {
        "model": identity, "images": torch.full((5, 3, 8, 8), 0.5), "labels": torch.tensor([0, 1, 2, 3, 0]),
        "eps": 0.01, "step_size": 0.01, "steps": 1,
    } | changes  # fmt: skip
    positional = [call.pop(name) for name in ("model", "images", "labels")]
    with pytest.raises(KdbenchError, match=message):
        pgd(*positional, **call)


def test_logits_that_break_only_under_attack_are_noticed() -> None:
    def model(images: Tensor) -> Tensor:
        return identity(images) + torch.log(0.505 - images.amax(dim=(1, 2, 3)))[:, None]

    with pytest.raises(KdbenchError, match="not finite"):
        pgd(model, torch.full((2, 3, 2, 2), 0.5), torch.zeros(2, dtype=torch.long), eps=0.01, step_size=0.01, steps=2,
            start="zero")  # fmt: skip


def test_one_infinite_iterate_is_noticed_though_the_last_is_finite() -> None:
    """A logit of -inf leaves loss and gradient finite; x_1 = .51 alone has one."""

    def model(images: Tensor) -> Tensor:
        moved = images.flatten(1).sum(dim=1) - 0.5
        other = torch.where((moved > 0.005) & (moved < 0.015), -torch.inf, 0.0)
        return torch.stack([-moved, other], dim=1)

    with pytest.raises(KdbenchError, match="not finite"):
        pgd(model, torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.01, steps=3,
            start="zero")  # fmt: skip


def test_a_gradient_that_is_no_number_is_noticed_though_the_logits_are_finite() -> None:
    def model(images: Tensor) -> Tensor:
        root = (images - 0.5).abs().sqrt()  # its slope at .5 is infinite, and 0 * inf is no number
        return torch.nan_to_num(identity(images) + 0.0 * identity(root))

    with pytest.raises(KdbenchError, match="not finite"):
        pgd(model, torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.01, steps=1,
            start="zero")  # fmt: skip


def test_what_is_no_number_is_noticed_where_a_restart_ends_early() -> None:
    """The image is wanted up to k = 1 alone, and the trajectory's last look, at k = 5, never comes."""

    def model(images: Tensor) -> Tensor:
        return identity(images) / 0 * 0

    images, labels = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0])
    trajectory = Trajectory(model, images, labels, images, Ascent(eps=0.01, step_size=0.01))
    with pytest.raises(KdbenchError, match="not finite"):
        read_off(trajectory, LastIterate(images), labels, (1, 5), torch.tensor([1]), None)
