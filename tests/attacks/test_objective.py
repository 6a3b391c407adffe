"""Each objective's value and gradient by hand, and where a targeted one ends on a linear model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Literal, get_args, get_type_hints

import numpy as np
import pytest
import torch

from kdbench.attacks import OBJECTIVES, pgd
from kdbench.attacks.objective import likeliest_wrong
from kdbench.attacks.pgd import pgd_attack
from tests.attacks.small_models import Linear, some_images

Z = [2.0, 5.0, -1.0, 4.0]
"""Logits: class 1 is first, 3 second, 0 third, 2 fourth."""
Y, T = 1, 0
E = [math.exp(z) for z in Z]
P = [e / sum(E) for e in E]


def one_hot(*entries: tuple[int, float]) -> list[float]:
    found = [0.0] * 4
    for index, value in entries:
        found[index] += value
    return found


def quotient(top: float, bottom: float, d_top: list[float], d_bottom: list[float]) -> list[float]:
    """The gradient of top / bottom."""
    return [(a * bottom - top * b) / bottom**2 for a, b in zip(d_top, d_bottom, strict=True)]


# name: value, gradient with respect to the logits
BY_HAND: dict[str, tuple[float, list[float]]] = {
    "cross-entropy": (-math.log(P[Y]), [p - (i == Y) for i, p in enumerate(P)]),
    "targeted-cross-entropy": (math.log(P[T]), [(i == T) - p for i, p in enumerate(P)]),
    "margin": (4.0 - 5.0, one_hot((3, 1), (1, -1))),
    "targeted-margin": (2.0 - 5.0, one_hot((0, 1), (1, -1))),
    # (z_3 - z_1) / (z_1 - z_0)
    "dlr": (-1.0 / 3.0, quotient(-1.0, 3.0, one_hot((3, 1), (1, -1)), one_hot((1, 1), (0, -1)))),
    # (z_0 - z_1) / (z_1 - (z_0 + z_2) / 2)
    "targeted-dlr": (
        -3.0 / 4.5,
        quotient(-3.0, 4.5, one_hot((0, 1), (1, -1)), one_hot((1, 1), (0, -0.5), (2, -0.5))),
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient(name: str) -> None:
    value, gradient = BY_HAND[name]
    logits = torch.tensor([Z, Z], dtype=torch.float64, requires_grad=True)
    found = OBJECTIVES[name].function(logits, torch.tensor([Y, Y]), torch.tensor([T, T]))
    assert found.tolist() == pytest.approx([value, value], abs=1e-9)
    [slope] = torch.autograd.grad(found.sum(), logits)
    assert slope.numpy() == pytest.approx(np.array([gradient, gradient]), abs=1e-9)


# The value where the classifier errs: class 0 is true, class 1 is answered.
ERRING = {"margin": 5.0 - 2.0, "dlr": 3.0 / 3.0}


@pytest.mark.parametrize("name", ERRING)
def test_untargeted_objectives_go_on_behind_the_border(name: str) -> None:
    """Neither is clamped."""
    found = OBJECTIVES[name].function(torch.tensor([Z], dtype=torch.float64), torch.tensor([0]), torch.tensor([0]))
    assert found.item() == pytest.approx(ERRING[name], abs=1e-9)


def test_dlr_is_that_of_autoattack() -> None:
    library = pytest.importorskip("pyautoattack")
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 6, generator=generator), torch.arange(40) % 6
    theirs = library.AutoAttack(torch.nn.Identity(), eps=0.1, device="cpu")
    found = OBJECTIVES["dlr"].function(logits, labels, labels)
    assert torch.allclose(found, theirs.apgd.dlr_loss(logits, labels), rtol=1e-5, atol=0)
    targets = (labels + 1) % 6
    theirs.apgd_targeted.y_target = targets
    found = OBJECTIVES["targeted-dlr"].function(logits, labels, targets)
    assert torch.allclose(found, theirs.apgd_targeted.dlr_loss_targeted(logits, labels), rtol=1e-5, atol=0)


def test_equal_logits_divide_by_no_zero() -> None:
    for name in ("dlr", "targeted-dlr"):
        logits = torch.zeros(1, 4, requires_grad=True)
        value = OBJECTIVES[name].function(logits, torch.tensor([0]), torch.tensor([1])).sum()
        assert value.isfinite() and torch.autograd.grad(value, logits)[0].isfinite().all()


def test_the_likeliest_wrong_classes_come_in_turn() -> None:
    logits = torch.tensor([Z, Z])
    assert [likeliest_wrong(logits, torch.tensor([1, 0]), rank).tolist() for rank in range(4)] == [
        [3, 1], [0, 3], [2, 2], [3, 1],
    ]  # fmt: skip


def test_the_attack_by_name_has_every_objective() -> None:
    hint: object = get_type_hints(pgd_attack.target, include_extras=False)["objective"]
    assert get_args(hint) == tuple(OBJECTIVES)
    assert hint == Literal[get_args(hint)]
    assert inspect.signature(pgd).parameters["objective"].default == "cross-entropy"


def first_of(name: str) -> Callable[..., torch.Tensor]:
    return OBJECTIVES[name].function


@pytest.mark.parametrize("name", ["targeted-cross-entropy", "targeted-margin", "targeted-dlr"])
def test_a_targeted_attack_reaches_its_target_exactly_where_a_linear_model_allows(name: str) -> None:
    """The corner x + eps * sign(w_t - w_y) is the ball's point with the largest z_t - z_y, in closed form.

    Two true logits matter and two others lie far below, so that each objective pushes along w_t - w_y alone.
    """
    model = Linear(4)
    with torch.no_grad():
        model.weight[2:] = 0
        model.bias[:2], model.bias[2:] = 0, torch.tensor([-500.0, -600.0])
    images = some_images(60, low=0.3, high=0.7)
    with torch.no_grad():
        labels = model(images).argmax(1)
    targets = 1 - labels
    weight = model.weight.detach().double()
    direction = weight[targets] - weight[labels]
    gap = (images.double().flatten(1) * -direction).sum(1)
    radii = gap / direction.abs().sum(1)
    ordered = radii.sort().values
    eps = float(ordered[30] + ordered[31]) / 2
    assert 0 < eps < 0.3  # no corner of a ball leaves [0, 1]
    setting = {"eps": eps, "step_size": eps / 4, "steps": 9, "restarts": 2, "keep_examples": True}
    result = pgd(model, images, labels, objective=name, targets=targets, **setting)
    assert torch.equal(result.robust[9], radii > eps)
    assert int(result.robust[9].sum()) == 29
    assert result.examples is not None
    corner = images + eps * direction.sign().float().view_as(images)
    assert torch.allclose(result.examples, corner, rtol=0, atol=1e-6)
    with torch.no_grad():
        answered = model(result.examples).argmax(1)
    assert torch.equal(answered, torch.where(radii > eps, labels, targets))
