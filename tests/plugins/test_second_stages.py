"""DMI, CDR and joint optimisation against NumPy computations made here, and their reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_baselines.critical_parameters import keep_critical
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.testing import TINY
from tests.plugins.helpers import Legible, image_of, make, make_batch, make_context, softmax
from tests.plugins.staged_by_hand import (
    CLASSES,
    at,
    draw,
    gradient_of,
    knows,
    legible,
    loss_of,
    prepared,
)

# DMI.


@pytest.mark.parametrize("seed", [15, 16, 17])
def test_dmi_without_memory_is_the_papers_loss(seed: int) -> None:
    logits, labels = draw(seed, 40)
    ctx = legible()
    loss = loss_of(prepared("dmi", ctx, memory=0.0, ridge=1e-12), ctx, labels)
    joint = np.eye(CLASSES)[labels].T @ softmax(logits) / 40
    assert loss(logits).item() == pytest.approx(-np.log(abs(np.linalg.det(joint))))
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))


def test_dmi_remembers_earlier_batches_and_survives_a_resume() -> None:
    ctx = legible()
    method, expected = prepared("dmi", ctx, memory=0.8, ridge=0.1), np.eye(CLASSES) / CLASSES
    for seed in (18, 19, 20):
        logits, labels = draw(seed)
        loss = loss_of(method, ctx, labels)(logits)
        expected = 0.8 * expected + 0.2 * np.eye(CLASSES)[labels].T @ softmax(logits) / 12
        value = -np.log(abs(np.linalg.det(0.9 * expected + 0.1 * np.eye(CLASSES) / CLASSES)))
        assert loss.item() == pytest.approx(value, rel=1e-5)
    resumed = prepared("dmi", ctx)
    resumed.load_state(method.state())
    np.testing.assert_allclose(resumed.average, expected, rtol=1e-5, atol=1e-8)


def test_a_batch_that_is_like_those_before_has_its_whole_gradient() -> None:
    logits, labels = draw(21, 40)
    ctx = legible()
    plain = loss_of(prepared("dmi", ctx, memory=0.0, ridge=1e-12), ctx, labels)
    method = prepared("dmi", ctx, memory=0.9, ridge=1e-12)
    method.average = torch.as_tensor(np.eye(CLASSES)[labels].T @ softmax(logits) / 40)
    torch.testing.assert_close(gradient_of(loss_of(method, ctx, labels), logits), gradient_of(plain, logits))


def test_dmi_has_a_gradient_for_a_hundred_classes_and_few_labels() -> None:
    logits = torch.randn(32, 100, generator=torch.Generator().manual_seed(22), requires_grad=True)
    ctx = make_context(Legible(100), classes=100)
    ctx.networks = {"start": Legible(100)}
    loss = prepared("dmi", ctx).of_logits(logits, torch.arange(32))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert (logits.grad.isfinite() & (logits.grad != 0)).all()


# CDR.


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_gradients_of_the_critical_weights_alone_are_kept(share: float) -> None:
    generator = torch.Generator().manual_seed(23)
    parameters = [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((6, 5), (4, 3, 3, 3), (7, 2))]
    before = []
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        before.append(parameter.grad.clone().numpy())
    keep_critical(parameters, share)
    scores = np.concatenate([np.abs(p.detach().numpy() * g).ravel() for p, g in zip(parameters, before, strict=True)])
    border = np.sort(scores)[::-1][int(share * len(scores)) - 1]
    for parameter, gradient in zip(parameters, before, strict=True):
        assert parameter.grad is not None
        kept = np.abs(parameter.detach().numpy() * gradient) >= border
        np.testing.assert_allclose(parameter.grad, np.where(kept, share * gradient, 0), rtol=1e-6)


def stepped(name: str, rate: float, **params: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """A tiny network after backward and before_step, and the gradients as backward left them."""
    student = build(TINY, num_classes=CLASSES, seed=0)
    ctx = make_context(student, classes=CLASSES)
    ctx.noise_rate, ctx.noise_realised, ctx.steps, ctx.step = rate, 0.9 * rate, 100, 10
    method = make(name, **params)
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(24))
    method.loss(make_batch([0, 1, 2, 3, 0, 1], images=images), ctx).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    before = {key: p.grad.clone() for key, p in student.named_parameters() if p.grad is not None}
    method.before_step(ctx)
    return student, before


def test_reduction_11_cdr_without_noise_is_plain_descent() -> None:
    student, before = stepped("cdr", 0.0)
    reference, _ = stepped("ce", 0.4)
    assert before
    for key, parameter in student.named_parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, before[key])
        found = reference.get_parameter(key).grad
        assert found is not None
        assert torch.equal(parameter.grad, found)


@pytest.mark.parametrize(
    ("params", "kept"),
    [({}, 0.6), ({"noise_rate": 0.7}, 0.3), ({"ramp_share": 0.2}, 0.8), ({"ramp_share": 0.05}, 0.6)],
)
def test_cdr_keeps_what_the_nominal_rate_leaves_and_leaves_biases_and_norms(
    params: dict[str, float], kept: float
) -> None:
    student, before = stepped("cdr", 0.4, **params)
    filters = [(key, p) for key, p in student.named_parameters() if p.ndim in (2, 4)]
    remaining = sum(int((p.grad != 0).sum()) for _, p in filters if p.grad is not None)
    assert remaining == int(kept * sum(p.numel() for _, p in filters))
    for key, parameter in student.named_parameters():
        assert parameter.grad is not None
        if parameter.ndim not in (2, 4):
            assert torch.equal(parameter.grad, before[key])
        else:
            held = parameter.grad != 0
            torch.testing.assert_close(parameter.grad[held], kept * before[key][held])


# Joint optimisation.


@pytest.mark.parametrize("params", [{}, {"alpha": 0.8, "beta": 0.4}, {"alpha": 0.0, "beta": 0.0}])
def test_relabelling_equals_its_formula(params: dict[str, float]) -> None:
    logits, labels = draw(25)
    method: Any = make("joint-relabelling", **params)
    p, soft = softmax(logits), draw(26)[0].softmax(1)
    expected = -(soft.numpy() * np.log(p)).sum(1).mean()
    expected -= params.get("alpha", 1.2) * np.log(p.mean(0)).mean()
    expected -= params.get("beta", 0.8) * (p * np.log(p)).sum(1).mean()
    assert method.objective(logits, soft).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda z: method.objective(z, soft), (logits.requires_grad_(),))
    assert labels


def test_labels_become_the_mean_of_the_last_epochs_predictions_and_survive_a_resume() -> None:
    ctx, labels = legible(), draw(27)[1]
    method = prepared("joint-relabelling", ctx, averaged=3, update_share=0.4)
    knows(ctx, torch.zeros(12, CLASSES), labels)
    seen = []
    for epoch in range(6):
        at(ctx, epoch / 10)
        method.on_epoch_start(ctx)
        if epoch < 4:
            assert torch.equal(method.labels, F.one_hot(torch.tensor(labels), CLASSES).float())
        else:
            np.testing.assert_allclose(method.labels, np.mean(seen[-3:], 0), atol=1e-3)
        logits, order = draw(30 + epoch)[0], torch.randperm(12, generator=torch.Generator().manual_seed(epoch))
        images = image_of(logits)[order]
        method.loss(kdbench.Batch(images, torch.tensor(labels)[order], order, {"images": images}), ctx)
        seen.append(softmax(logits))
    resumed = prepared("joint-relabelling", ctx, averaged=3, update_share=0.4)
    resumed.load_state(method.state())
    at(ctx, 0.6)
    resumed.on_epoch_start(ctx)
    np.testing.assert_allclose(resumed.labels, np.mean(seen[-3:], 0), atol=1e-3)


def test_an_image_left_out_of_an_epoch_keeps_a_label() -> None:
    ctx = legible()
    method = prepared("joint-relabelling", ctx, averaged=2, update_share=0.1)
    knows(ctx, torch.zeros(12, CLASSES), [3] * 12)
    method.on_epoch_start(ctx)
    at(ctx, 0.1)
    method.on_epoch_start(ctx)
    assert torch.equal(method.labels, F.one_hot(torch.full((12,), 3), CLASSES).float())


@pytest.mark.parametrize("seed", [28, 38, 48])
def test_the_second_stage_learns_what_the_first_ones_network_predicts(seed: int) -> None:
    ctx, (logits, labels) = legible(), draw(seed)
    method = prepared("joint", ctx)
    found = draw(seed + 1)[0]
    knows(ctx, found, labels)
    method.on_epoch_start(ctx)
    expected = -(softmax(found) * np.log(softmax(logits))).sum(1).mean()
    assert loss_of(method, ctx, labels)(logits).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(loss_of(method, ctx, labels), (logits.clone().requires_grad_(),))
    resumed = prepared("joint", ctx)
    resumed.load_state(method.state())
    assert loss_of(resumed, ctx, labels)(logits).item() == pytest.approx(expected)


def test_the_second_stage_hands_its_parameters_to_the_first() -> None:
    spec = load_plugins().methods.get("joint")
    params = spec.validate({"alpha": 0.5, "averaged": 4})
    assert params["alpha"] == 0.5
    assert spec.needed(params) == {
        "relabelled": kdbench.Network(like="student", method="joint-relabelling", params=params)
    }
