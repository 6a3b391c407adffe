"""ce, kd and nrd against float64 computations written here, and the reductions they must satisfy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.models import build
from kdbench.specs import Recipe
from kdbench.testing import TINY
from tests.plugins.helpers import Fixed, Legible, image_of, make, make_batch, make_context, softmax

RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)

STUDENT, TEACHER, LABELS = [[2.0, 1.0, 0.0], [0.3, -1.2, 2.2]], [[3.0, 0.0, -1.0], [0.0, 0.1, 0.4]], [0, 2]


def kd_by_hand(temperature: float, alpha: float, reverse: bool) -> float:
    hard = -np.log(softmax(STUDENT)[range(2), LABELS])
    s, t = softmax(STUDENT, temperature), softmax(TEACHER, temperature)
    a, b = (s, t) if reverse else (t, s)
    soft = (a * np.log(a / b)).sum(1)
    return float(((1 - alpha) * hard + alpha * temperature**2 * soft).mean())


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("direction", ["teacher-student", "reverse"])
def test_kd_equals_its_formula(temperature: float, alpha: float, direction: str) -> None:
    method = make("kd", temperature=temperature, alpha=alpha, direction=direction)
    loss = method.loss(make_batch(LABELS), make_context(Fixed(STUDENT), Fixed(TEACHER)))
    assert loss.item() == pytest.approx(kd_by_hand(temperature, alpha, direction == "reverse"), rel=1e-5)


@pytest.mark.parametrize(("direction", "expected"), [("teacher-student", 0.489198), ("reverse", 0.486394)])
def test_kd_known_answer(direction: str, expected: float) -> None:
    ctx = make_context(Fixed(STUDENT[:1]), Fixed(TEACHER[:1]))
    assert make("kd", direction=direction).loss(make_batch([0]), ctx).item() == pytest.approx(expected, abs=1e-5)


def test_reduction_2_kd_with_alpha_0_is_ce_in_value_and_gradient() -> None:
    gradients = []
    for name, params in (("kd", {"alpha": 0.0}), ("ce", {})):
        student = Fixed(STUDENT)
        make(name, **params).loss(make_batch(LABELS), make_context(student, Fixed(TEACHER))).backward()
        assert student.logits.grad is not None
        gradients.append(student.logits.grad)
    torch.testing.assert_close(*gradients)


def test_reduction_2_kd_with_alpha_1_and_an_equal_teacher_is_0_without_gradient() -> None:
    student = Fixed(STUDENT)
    loss = make("kd", alpha=1.0).loss(make_batch(LABELS), make_context(student, Fixed(STUDENT)))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.logits.grad is not None
    assert student.logits.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("direction", ["teacher-student", "reverse"])
def test_kd_gradient_matches_finite_differences(direction: str) -> None:
    logits = torch.tensor(STUDENT, dtype=torch.float64, requires_grad=True)
    ctx = make_context(Legible(3), Fixed(TEACHER).double().requires_grad_(False))
    method = make("kd", direction=direction)
    assert torch.autograd.gradcheck(lambda z: method.loss(make_batch(LABELS, images=image_of(z)), ctx), (logits,))


def nrd_by_hand(student: Any, teacher: Any, labels: list[int], pi2: float, scaled: bool) -> float:
    onehot, ys, yt = np.eye(3)[labels], softmax(student), softmax(teacher)
    pi = ((1 - pi2) / 2, pi2, (1 - pi2) / 2)
    m = pi[0] * onehot + pi[1] * ys + pi[2] * yt

    def kl(a: Any) -> Any:
        return np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / m), 0).sum(1)

    total = pi[0] * kl(onehot) + pi[1] * kl(ys) + pi[2] * kl(yt)
    scale = -1 / ((1 - pi[0]) * math.log(1 - pi[0])) if scaled else 1.0
    return float(scale * total.mean())


@pytest.mark.parametrize("pi2", [0.2, 0.6, 0.8])
@pytest.mark.parametrize("scale", ["gjs", "none"])
def test_nrd_equals_its_formula(pi2: float, scale: str) -> None:
    method = make("nrd", pi2=pi2, scale=scale)
    student = Fixed(STUDENT)
    ctx = make_context(student)
    method.setup(ctx)
    ema = method.networks()["ema"]
    ema.load_state_dict(Fixed(TEACHER).state_dict())
    loss = method.loss(make_batch(LABELS, teacher=torch.zeros(2, 3, 32, 32)), ctx)
    expected = nrd_by_hand(STUDENT, TEACHER, LABELS, pi2, scale == "gjs")
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert student.logits.grad is not None
    assert student.logits.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in ema.parameters())


def test_nrd_known_answer() -> None:
    method = make("nrd", pi2=0.6, scale="none")
    ctx = make_context(Fixed([[math.log(0.7), math.log(0.2), math.log(0.1)]]))
    method.setup(ctx)
    teacher = Fixed([[math.log(0.5), math.log(0.3), math.log(0.2)]])
    method.networks()["ema"].load_state_dict(teacher.state_dict())
    loss = method.loss(make_batch([0], teacher=torch.zeros(1, 3, 32, 32)), ctx)
    assert loss.item() == pytest.approx(0.088423, abs=1e-5)
    assert 0 <= loss.item() <= -(0.2 * math.log(0.2) * 2 + 0.6 * math.log(0.6))


def test_nrd_teacher_is_a_moving_average_of_parameters_with_statistics_of_its_own() -> None:
    student = build(TINY, num_classes=3, seed=0).train()
    ctx, method = make_context(student), make("nrd")
    method.setup(ctx)
    ema = method.networks()["ema"]
    before = {name: p.detach().clone() for name, p in ema.named_parameters()}
    statistics = {name: buffer.clone() for name, buffer in ema.named_buffers()}
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        student(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2)))
    method.after_step(ctx)
    for name, new in student.named_parameters():
        torch.testing.assert_close(ema.get_parameter(name), 0.99 * before[name] + 0.01 * new)
    for name, buffer in student.named_buffers():
        assert torch.equal(ema.get_buffer(name), statistics[name])
        assert not torch.equal(buffer, statistics[name])


@pytest.mark.parametrize("mode", ["batch", "eval"])
def test_nrd_teacher_statistics_follow_the_option(mode: str) -> None:
    ctx, method = make_context(build(TINY, num_classes=3, seed=0)), make("nrd", teacher_bn=mode)
    method.setup(ctx)
    method.on_epoch_start(ctx)
    assert method.networks()["ema"].training is (mode == "batch")


def test_nrd_draws_two_independent_views_and_spares_the_teacher_the_strong_one() -> None:
    ctx, method = make_context(build(TINY, num_classes=3, seed=0)), make("nrd")
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    views = method.views(images, ctx)
    assert isinstance(views, dict)
    assert set(views) == {"images", "teacher"}

    def grey(view: Tensor) -> Tensor:
        return ((view - 0.5).abs() < 1e-6).all(1).float().mean((1, 2))

    assert (grey(views["images"]) > 0.04).all()  # Cutout in the mean colour: at least a corner of 8 x 8
    assert (grey(views["teacher"]) == 0).all()


@pytest.mark.parametrize("name", ["ce", "kd", "nrd"])
def test_reduction_2_doubling_the_batch_by_repetition_changes_nothing(name: str) -> None:
    losses = []
    for repeat in (1, 2):
        ctx = make_context(Fixed(STUDENT * repeat), Fixed(TEACHER * repeat))
        method = make(name)
        method.setup(ctx)
        losses.append(method.loss(make_batch(LABELS * repeat, teacher=torch.zeros(1)), ctx).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("nrd", {"pi2": 1.0}, "pi2: input should be less than 1"),
        ("nrd", {"decay": 1.0}, "decay: input should be less than 1"),
        ("nrd", {"scale": "both"}, "scale: input should be 'gjs' or 'none', found 'both'"),
        ("kd", {"temperature": 0}, "temperature: input should be greater than 0"),
        ("kd", {"alpha": -0.1}, "alpha: input should be greater than or equal to 0"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:

    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)
