"""Forward and T-revision against NumPy computations made here, their reductions, and the values of all stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_baselines.transition import estimate_transition
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods.recipes import Setting
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Condition, LabelNoise, Recipe
from kdbench.testing import TINY
from tests.plugins.helpers import make, make_context, softmax
from tests.plugins.staged_by_hand import (
    CLASSES,
    Array,
    at,
    draw,
    gradient_of,
    knows,
    legible,
    loss_of,
    matrix,
    prepared,
)

# The transition matrix.


def transition_by_hand(p: Array, percentile: float) -> Array:
    rows = []
    for column in p.T:
        allowed = column < np.percentile(column, percentile, method="higher") if percentile < 100 else column >= 0
        rows.append(p[np.flatnonzero(allowed)[column[allowed].argmax()]])
    return np.array([row / row.sum() for row in rows])


@pytest.mark.parametrize("percentile", [50.0, 90.0, 97.0, 100.0])
@pytest.mark.parametrize("size", [21, 1000])
def test_the_estimate_is_the_prediction_for_the_surest_image(percentile: float, size: int) -> None:
    p = draw(0, size)[0].softmax(1)
    np.testing.assert_allclose(estimate_transition(p, percentile), transition_by_hand(p.numpy(), percentile))


def test_images_of_one_class_for_sure_give_the_true_matrix() -> None:
    truth = matrix(1).double()
    truth /= truth.sum(1, keepdim=True)
    clean = torch.cat([torch.eye(CLASSES), draw(2, 50)[0].softmax(1)]).double()
    torch.testing.assert_close(estimate_transition(clean @ truth, 100.0), truth)


def test_equal_predictions_leave_a_matrix_all_the_same() -> None:
    assert torch.equal(estimate_transition(torch.full((5, 2), 0.5), 97.0), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("name", ["forward", "t-revision"])
def test_the_matrix_is_estimated_once_before_the_first_epoch_and_is_saved(name: str) -> None:
    ctx, (logits, labels) = legible(), draw(3)
    method = prepared(name, ctx, percentile=90.0)
    knows(ctx, logits, labels)
    method.on_epoch_start(ctx)
    expected = transition_by_hand(softmax(logits), 90.0)
    np.testing.assert_allclose(method.networks()["transition"].state_dict()["matrix"], expected, rtol=1e-5)
    at(ctx, 0.5)
    knows(ctx, -logits, labels)
    method.on_epoch_start(ctx)
    np.testing.assert_allclose(method.transition.matrix, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["forward", "t-revision"])
def test_the_estimator_is_a_short_training_that_methods_share(name: str) -> None:
    spec = load_plugins().methods.get(name)
    usual = kdbench.Network(like="student", params={"view": "suite"}, epochs_share=0.1, least_steps=500)
    assert spec.needed(spec.validate({})) == {"estimator": usual}
    asked = spec.needed(spec.validate({"estimator_share": 0.3, "least_steps": 0}))
    assert asked == {"estimator": kdbench.Network(like="student", params={"view": "suite"}, epochs_share=0.3)}


# Forward correction.


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_forward_equals_its_formula(seed: int) -> None:
    logits, labels = draw(seed)
    ctx, transition = legible(), matrix(seed)
    loss = loss_of(prepared("forward", ctx, transition), ctx, labels)
    seen = softmax(logits) @ transition.double().numpy()
    assert loss(logits).item() == pytest.approx(-np.log(seen[range(12), labels]).mean(), rel=1e-6)
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))


def test_reduction_11_forward_with_the_identity_is_cross_entropy() -> None:
    logits, labels = draw(7)
    ctx = legible()
    loss = loss_of(prepared("forward", ctx, torch.eye(CLASSES)), ctx, labels)
    plain = loss_of(make("ce"), ctx, labels)
    for scale in (1, 200):  # 200: probabilities underflow
        torch.testing.assert_close(loss(scale * logits), plain(scale * logits))
        torch.testing.assert_close(gradient_of(loss, scale * logits), gradient_of(plain, scale * logits))


def test_no_gradient_reaches_the_transition_matrix() -> None:
    for name in ("forward", "t-revision"):
        method = prepared(name, legible(), matrix(8))
        assert not any(parameter.requires_grad for parameter in method.transition.parameters())
        assert not method.transition.matrix.requires_grad


# T-revision.


def revised_by_hand(logits: Array, labels: list[int], transition: Array) -> Array:
    p = softmax(logits)
    mine, seen = p[range(len(labels)), labels], (p @ transition)[range(len(labels)), labels]
    return mine / seen * -np.log(mine)


@pytest.mark.parametrize("seed", [9, 10, 11])
@pytest.mark.parametrize("progress", [0.2, 0.8])
def test_t_revision_equals_its_formula_in_both_stages(seed: int, progress: float) -> None:
    logits, labels = draw(seed)
    ctx, transition = legible(progress), matrix(seed)
    method = prepared("t-revision", ctx, transition)
    change = 0.02 * torch.randn(CLASSES, CLASSES, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        method.correction.weight.copy_(change / method.correction.scale)
    used = transition + change if progress > 0.5 else transition
    expected = revised_by_hand(logits.numpy(), labels, used.double().numpy()).mean()
    assert loss_of(method, ctx, labels)(logits).item() == pytest.approx(expected, rel=1e-5)


def test_the_weight_has_a_gradient_for_the_correction_alone_and_only_while_it_learns() -> None:
    logits, labels = draw(12)
    ctx, transition = legible(0.2), matrix(12)
    method = prepared("t-revision", ctx, transition)
    loss = loss_of(method, ctx, labels)
    p, q = softmax(logits), np.eye(CLASSES)[labels]
    weight = (p * q).sum(1) / (p @ transition.double().numpy() * q).sum(1)
    loss(logits.requires_grad_()).backward()
    assert method.correction.weight.grad is None
    for progress in (0.2, 0.5):  # the correction is 0 at first
        at(ctx, progress)
        np.testing.assert_allclose(gradient_of(loss, logits), weight[:, None] * (p - q) / 12, rtol=1e-5, atol=1e-8)
    method.correction.double()

    def of_correction(change: Tensor) -> Tensor:
        method.correction = lambda: change
        return loss(logits.detach())

    assert torch.autograd.gradcheck(of_correction, (torch.zeros(CLASSES, CLASSES).double().requires_grad_(),))


def test_reduction_11_t_revision_with_the_identity_weighs_nothing() -> None:
    logits, labels = draw(13)
    ctx = legible(0.2)
    method = prepared("t-revision", ctx, torch.eye(CLASSES))
    plain = loss_of(make("ce"), ctx, labels)
    torch.testing.assert_close(loss_of(method, ctx, labels)(logits), plain(logits))
    torch.testing.assert_close(gradient_of(loss_of(method, ctx, labels), logits), gradient_of(plain, logits))
    at(ctx, 0.9)  # the correction is 0 at first
    torch.testing.assert_close(loss_of(method, ctx, labels)(logits), plain(logits))


def test_the_correction_learns_at_its_rate_times_the_learning_rate() -> None:
    logits, labels = draw(14)
    ctx, change = legible(0.9), torch.zeros(CLASSES, CLASSES, requires_grad=True)
    method = prepared("t-revision", ctx, matrix(14), correction_rate=0.01)
    optimizer = torch.optim.SGD(method.correction.parameters(), lr=0.5)
    loss_of(method, ctx, labels)(logits).backward()
    optimizer.step()
    p = logits.softmax(1).float()
    seen = (p @ (matrix(14) + change))[range(12), labels]
    (p[range(12), labels] / seen * -p[range(12), labels].log()).mean().backward()
    assert change.grad is not None
    torch.testing.assert_close(method.correction().detach(), -0.5 * 0.01 * change.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("name", "role"), [("t-revision", "estimator"), ("dmi", "start")])
def test_a_second_stage_starts_from_the_first_ones_weights(name: str, role: str) -> None:
    ctx = make_context(build(TINY, num_classes=CLASSES, seed=0), classes=CLASSES)
    ctx.networks = {role: build(TINY, num_classes=CLASSES, seed=1)}
    make(name).setup(ctx)
    for key, tensor in ctx.networks[role].state_dict().items():
        assert torch.equal(ctx.student.state_dict()[key], tensor)
    if name == "t-revision":
        ctx.student = build(TINY, num_classes=CLASSES, seed=0)
        make(name, start="scratch").setup(ctx)
        fresh = build(TINY, num_classes=CLASSES, seed=0).state_dict()
        assert all(torch.equal(tensor, fresh[key]) for key, tensor in ctx.student.state_dict().items())


# What the papers say, and what is refused.


def resolved(name: str, suite: str, dataset: str, kind: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    noise = LabelNoise(kind=kind, rate=0.4) if kind else None
    condition = Condition(recipe=Recipe(epochs=1, batch_size=1, lr=0.1), noise=noise)
    found = load_plugins().methods.get(name).resolve({}, Setting(suite, dataset, "wrn-10-1", condition))
    return found.params, found.tuned


@pytest.mark.parametrize(("classes", "expected"), [(10, 97.0), (33, 97.0), (34, 100.0), (50, 100.0), (101, 100.0)])
def test_no_whole_class_is_passed_over(classes: int, expected: float) -> None:
    """Else row i of the matrix is another class's: 3 % of Food-101 is three times a class."""
    ctx = make_context(build(TINY, num_classes=classes, seed=0), classes=classes)
    for method in (make("forward"), make("t-revision", start="scratch")):
        method.setup(ctx)
        assert method.percentile == expected


def test_a_percentile_that_passes_over_a_whole_class_is_refused() -> None:
    ctx = make_context(build(TINY, num_classes=34, seed=0), classes=34)
    make("forward", percentile=97.1).setup(ctx)
    with pytest.raises(KdbenchError, match="percentile is 97.0, expected above 97.06 with 34 classes"):
        make("forward", percentile=97.0).setup(ctx)


def test_published_values_go_with_the_data() -> None:
    for name, share in (("forward", 0.1), ("t-revision", 0.075)):
        assert resolved(name, "mine", "cifar100")[0]["estimator_share"] == share
    for name in ("joint", "joint-relabelling"):
        asymmetric = resolved(name, "mine", "cifar10", "asymmetric-cifar10")[0]
        assert (asymmetric["alpha"], asymmetric["beta"]) == (0.8, 0.4)
        assert resolved(name, "mine", "cifar10", "symmetric")[0]["alpha"] == 1.2


@pytest.mark.parametrize("name", ["forward", "t-revision", "dmi", "cdr", "joint", "joint-relabelling"])
def test_only_dmi_brings_an_optimiser_and_all_see_the_strong_view_in_its_suites(name: str) -> None:
    for suite, dataset in (("nrd-cifar10", "cifar10"), ("nrd-cifar100", "cifar100"), ("mine", "cifar10")):
        params, optimizer = resolved(name, suite, dataset, "symmetric")
        assert params["view"] == ("suite" if suite == "mine" else "strong")
        own = {"momentum": 0.9, "nesterov": False, "schedule": "steps", "gamma": 1.0}
        assert optimizer == ({"lr": 1e-6, "weight_decay": 1e-4, **own} if name == "dmi" else {})


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("forward", {"percentile": 0}, "percentile: input should be greater than 0"),
        ("forward", {"estimator_share": 0}, "estimator_share: input should be greater than 0"),
        ("t-revision", {"revision_share": 1.1}, "revision_share: input should be less than or equal to 1"),
        ("t-revision", {"correction_rate": 0}, "correction_rate: input should be greater than 0"),
        ("t-revision", {"start": "teacher"}, "start: input should be 'estimator' or 'scratch', found 'teacher'"),
        ("dmi", {"holdout": 1.0}, "holdout: input should be less than 1"),
        ("early-stopping", {"holdout": 0}, "holdout: input should be greater than 0"),
        ("forward", {"least_steps": -1}, "least_steps: input should be greater than or equal to 0"),
        ("dmi", {"memory": 1.0}, "memory: input should be less than 1"),
        ("dmi", {"ridge": -0.1}, "ridge: input should be greater than 0"),
        ("dmi", {"ridge": 0}, "ridge: input should be greater than 0"),
        ("cdr", {"noise_rate": 1.0}, "noise_rate: input should be less than 1"),
        ("joint", {"beta": -1}, "beta: input should be greater than or equal to 0"),
        ("joint-relabelling", {"averaged": 0}, "averaged: input should be greater than or equal to 1"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)
