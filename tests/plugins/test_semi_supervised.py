"""DivideMix and ELR+ against NumPy computations written here, and their reductions."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from kdbench_sample_selection.dividemix import DivideMix
from kdbench_sample_selection.elr_plus import EarlyLearning
from kdbench_sample_selection.loss_mixture import clean_probability, normalised
from kdbench_sample_selection.mixing import larger_share, mix, partners, sharpen
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench.models import build
from kdbench.testing import TINY
from tests.plugins.helpers import draw_pixels, make_context, softmax, with_peer
from tests.plugins.two_networks import (
    CLASSES,
    Array,
    at,
    batch_of,
    draw,
    entropies,
    image_of,
    prepared,
    two_of_them,
)

# Mixing.


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_the_larger_share_is_that_of_a_beta_draw(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shares = np.array([larger_share(alpha, generator).item() for _ in range(3000)])
    folded = stats.kstest(shares, lambda x: 2 * stats.beta(alpha, alpha).cdf(x) - 1)
    assert folded.pvalue > 1e-3
    assert 0.5 <= shares.min() <= shares.max() <= 1


def test_mixing_is_a_convex_combination_with_a_permuted_partner() -> None:
    generator = torch.Generator().manual_seed(1)
    values, partner = torch.rand(6, 3, generator=generator), partners(6, generator)
    assert sorted(partner.tolist()) == list(range(6))
    expected = 0.7 * values.numpy() + 0.3 * values.numpy()[partner]
    np.testing.assert_allclose(mix(values, partner, torch.tensor(0.7)), expected, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 0.25, 0.5, 1.0])
def test_sharpening_is_a_softmax_of_logarithms(temperature: float) -> None:
    p = draw(11)[0].softmax(1)
    np.testing.assert_allclose(sharpen(p, temperature), softmax(np.log(p.numpy()), temperature))
    even = torch.full((1, 100), 0.01)  # its 100th powers underflow
    torch.testing.assert_close(sharpen(even, temperature), even)
    sure = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(sharpen(sure, temperature), sure)


# DivideMix.


def mixmatch_by_hand(logits: Array, targets: Array, labelled: Array, lambda_u: float) -> float:
    p = softmax(logits)
    supervised = -(targets * np.log(p)).sum(1)[labelled].mean() if labelled.any() else 0.0
    unsupervised = ((p - targets) ** 2).mean(1)[~labelled].mean() if (~labelled).any() else 0.0
    even = 1 / logits.shape[1]
    return float(supervised + lambda_u * unsupervised + (even * np.log(even / p.mean(0))).sum())


@pytest.mark.parametrize("labelled", [[1, 0, 1, 1, 0, 0, 1, 0], [1] * 8, [0] * 8])
@pytest.mark.parametrize("lambda_u", [0.0, 25.0, 150.0])
def test_dividemix_objective_equals_its_formula(labelled: list[int], lambda_u: float) -> None:
    logits, other, _ = draw(12)
    mask, targets = torch.tensor(labelled, dtype=torch.bool), other.softmax(1)
    objective = DivideMix.objective
    expected = mixmatch_by_hand(logits.numpy(), targets.numpy(), mask.numpy(), lambda_u)
    assert objective(logits, targets, mask, lambda_u).item() == pytest.approx(expected)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: objective(z, targets, mask, lambda_u), (logits,))


def test_a_mixture_of_losses_tells_two_groups_apart_and_equal_losses_not_at_all() -> None:
    generator = torch.Generator().manual_seed(2)
    losses = torch.cat([0.1 + 0.02 * torch.randn(300, generator=generator), torch.rand(200, generator=generator) + 0.6])
    posterior = clean_probability(normalised(losses), seed=0)
    assert posterior is not None
    assert ((posterior > 0.5) == (torch.arange(500) < 300)).all()
    again = clean_probability(normalised(losses), seed=0)
    assert again is not None
    assert torch.equal(posterior, again)
    assert clean_probability(normalised(torch.full((500,), 0.3)), seed=0) is None


def memorised(ctx: kdbench.Context, first: Tensor, second: Tensor, labels: Tensor) -> None:
    """Let the context predict these logits on its training set."""
    ctx._train = kdbench.TrainSet(torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8), labels, CLASSES)
    ctx._predict = lambda network: first if network is ctx.student else second


def test_reduction_10_dividemix_goes_on_with_warm_up_when_all_losses_are_equal() -> None:
    first, second, labels = draw(13)
    ctx = two_of_them()
    memorised(ctx, torch.zeros(8, CLASSES), second, labels)
    method = prepared("dividemix", ctx)
    method.on_epoch_start(ctx)
    images = image_of(first, second)
    found = method.loss(batch_of(labels, images=images, second=images), ctx)
    assert found.item() == pytest.approx((F.cross_entropy(first, labels) + F.cross_entropy(second, labels)).item())


def confident(labels: Tensor, wrong: list[int]) -> Tensor:
    """Logits by which the labels at ``wrong`` have a large loss."""
    seen = labels.clone()
    seen[wrong] = (labels[wrong] + 1) % CLASSES
    return 4.0 * F.one_hot(seen, CLASSES) + 0.1 * torch.randn(
        len(labels), CLASSES, generator=torch.Generator().manual_seed(3)
    )


def divided(monkeypatch: pytest.MonkeyPatch, **params: Any) -> tuple[kdbench.Context, Any, Tensor]:
    """DivideMix after warm-up, without mixing. The student finds examples 0 and 1 suspect, the peer 2 and 3."""
    monkeypatch.setattr(sys.modules[DivideMix.__module__], "larger_share", lambda alpha, generator: torch.tensor(1.0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    ctx = two_of_them()
    memorised(ctx, confident(labels, [0, 1]), confident(labels, [2, 3]), labels)
    method = prepared("dividemix", ctx, **params)
    method.on_epoch_start(ctx)
    return ctx, method, labels


def test_each_network_is_told_by_the_other_which_labels_are_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    _, method, _ = divided(monkeypatch)
    assert ((method.clean[0] > 0.5) == torch.tensor([1, 1, 0, 0, 1, 1, 1, 1]).bool()).all()
    assert ((method.clean[1] > 0.5) == torch.tensor([0, 0, 1, 1, 1, 1, 1, 1]).bool()).all()


@pytest.mark.parametrize(
    "params", [{}, {"temperature": 1.0, "lambda_u": 3.0}, {"threshold": 0.9, "ramp_share": 0.0, "temperature": 0.25}]
)
def test_dividemix_refines_guesses_and_sharpens(monkeypatch: pytest.MonkeyPatch, params: dict[str, float]) -> None:
    ctx, method, labels = divided(monkeypatch, **params)
    soft = torch.linspace(0.2, 1.0, 16).reshape(2, 8)  # probabilities of being clean, neither 0 nor 1
    method.clean = soft
    (a1, b1, _), (a2, b2, _) = draw(14), draw(15)
    batch = batch_of(labels, images=image_of(a1, b1), second=image_of(a2, b2))
    loss = method.loss(batch, ctx)
    guess = (softmax(a1) + softmax(a2) + softmax(b1) + softmax(b2)) / 4
    expected, targets = 0.0, []
    for views, clean in zip(((a1, a2), (b1, b2)), soft.double().numpy(), strict=True):
        own = (softmax(views[0]) + softmax(views[1])) / 2
        refined = clean[:, None] * np.eye(CLASSES)[labels] + (1 - clean[:, None]) * own
        labelled = clean > params.get("threshold", 0.5)
        target = np.where(labelled[:, None], refined, guess) ** (1 / params.get("temperature", 0.5))
        target /= target.sum(1, keepdims=True)
        targets.append((np.tile(target, (2, 1)), np.tile(labelled, 2)))
        expected += mixmatch_by_hand(torch.cat(views).numpy(), *targets[-1], params.get("lambda_u", 25.0))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    # The targets are constants: the gradient is that of the objective with the targets computed here.
    loss.backward()
    free = torch.ones((), dtype=torch.float64, requires_grad=True)
    target, labelled = (torch.as_tensor(part) for part in targets[0])
    weight = params.get("lambda_u", 25.0)
    method.objective(free * torch.cat([a1, a2]), target, labelled, weight).backward()
    torch.testing.assert_close(ctx.student.weight.grad, free.grad, rtol=1e-5, atol=1e-8)


def test_guesses_without_gradient_leave_the_gradient_in_mixed_precision() -> None:
    """Autocast keeps the weights that it has cast; those cast for the guesses must not be used for the loss."""
    student, peer = (build(TINY, num_classes=CLASSES, seed=seed).train() for seed in (0, 1))
    ctx = with_peer(make_context(student, classes=CLASSES), peer)
    method = prepared("dividemix", ctx)
    method.clean = torch.tensor([[0.9, 0.1, 0.8, 0.3]] * 2)
    images, second = (draw_pixels(seed, 4, 3, 32, 32) for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.loss(batch_of(torch.tensor([0, 1, 2, 3]), images=images, second=second), ctx)
    loss.backward()
    for parameter in [*student.parameters(), *peer.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_the_weight_of_unlabelled_examples_rises_after_warm_up() -> None:
    ctx = two_of_them()
    method = prepared("dividemix", ctx, warmup_share=0.2, ramp_share=0.4, lambda_u=10.0)
    for progress, expected in ((0.1, 0.0), (0.2, 0.0), (0.3, 2.5), (0.6, 10.0), (0.9, 10.0)):
        at(ctx, progress)
        assert method.unlabelled_weight(ctx) == pytest.approx(expected)


def test_losses_are_averaged_over_the_last_epochs_and_survive_a_resume() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    ctx = two_of_them()
    method = prepared("dividemix", ctx, averaged_epochs=2)
    histories = []
    for wrong in ([0, 1], [2, 3], [4, 5]):
        memorised(ctx, confident(labels, wrong), confident(labels, wrong), labels)
        method.on_epoch_start(ctx)
        histories.append(normalised(kdbench.losses.cross_entropy(confident(labels, wrong), labels)))
    torch.testing.assert_close(method.state()["history"][:, 0], torch.stack(histories[1:]))
    assert ((method.clean[0] > 0.5) == torch.tensor([1, 1, 0, 0, 0, 0, 1, 1]).bool()).all()
    resumed = prepared("dividemix", ctx, averaged_epochs=2)
    resumed.load_state(method.state())
    assert torch.equal(resumed.history, method.history)


@pytest.mark.parametrize(
    ("penalty", "kind", "penalised"),
    [
        ("class-dependent", "asymmetric-cifar10", True),
        ("class-dependent", "pair-flip", True),
        ("class-dependent", "symmetric-inclusive", False),
        ("class-dependent", None, False),
        ("always", None, True),
        ("never", "asymmetric-cifar10", False),
    ],
)
def test_warm_up_rewards_entropy_where_noise_depends_on_the_class(
    penalty: str, kind: str | None, penalised: bool
) -> None:
    first, second, labels = draw(16)
    ctx = two_of_them(progress=0.0)
    ctx.noise_kind = kind
    method = prepared("dividemix", ctx, warmup_penalty=penalty)
    method.on_epoch_start(ctx)
    images = image_of(first, second)
    expected = sum(entropies(z, labels).mean() for z in (first, second))
    if penalised:
        expected += sum((softmax(z) * np.log(softmax(z))).sum(1).mean() for z in (first, second))
    assert method.loss(batch_of(labels, images=images, second=images), ctx).item() == pytest.approx(expected)


# ELR+.


@pytest.mark.parametrize(
    ("params", "w"),
    [({}, 1.0), ({"weight": 7.0}, 0.3), ({"weight": 1.0, "reweight": True}, 1.0), ({"weight": 0.0}, 1.0)],
)
def test_elr_plus_objective_equals_its_formula(params: dict[str, Any], w: float) -> None:
    logits, other, hard = draw(17)
    ctx = two_of_them()
    method = prepared("elr-plus", ctx, **params)
    targets, labels = 0.9 * other.softmax(1), 0.8 * F.one_hot(hard, CLASSES) + 0.2 * F.one_hot(hard.roll(1), CLASSES)
    q, t, p = labels.double().numpy(), targets.numpy(), softmax(logits)
    if params.get("reweight"):
        q = q * t / (q * t).sum(1, keepdims=True)
    clamped = np.clip(p, 1e-4, 1 - 1e-4)
    regulariser = np.log(1 - (t * clamped).sum(1))
    expected = (-(q * np.log(p)).sum(1) + w * params.get("weight", 3.0) * regulariser).mean()
    assert method.objective(logits, labels, targets, w).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda z: method.objective(z, labels, targets, w), (logits.requires_grad_(),))


def test_elr_plus_targets_follow_the_other_networks_average_and_survive_a_resume() -> None:
    first, second, labels = draw(18)
    ctx = two_of_them()
    method = prepared("elr-plus", ctx, beta=0.6)
    with torch.no_grad():
        method.averages[0].weight.fill_(0.5)  # the student's
        method.averages[1].weight.fill_(2.0)
    batch, expected = batch_of(labels, images=image_of(first, second)), np.zeros((2, 8, CLASSES))
    for _ in range(2):
        method.loss(batch, ctx).backward()
        believed = softmax(2.0 * second.numpy()), softmax(0.5 * first.numpy())
        expected = 0.6 * expected + 0.4 * np.stack(believed)
        np.testing.assert_allclose(method.state()["targets"], expected, rtol=1e-5)
    assert all(average.weight.grad is None for average in method.averages)
    assert method.peer.weight.grad is not None
    resumed = prepared("elr-plus", ctx)
    resumed.load_state(method.state())
    assert torch.equal(resumed.targets, method.targets)


def test_elr_plus_mixes_images_labels_and_targets_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[EarlyLearning.__module__]
    monkeypatch.setattr(module, "larger_share", lambda alpha, generator: torch.tensor(0.75))
    monkeypatch.setattr(module, "partners", lambda size, generator: torch.arange(size).roll(1))
    first, second, labels = draw(19)
    ctx = two_of_them()
    method = prepared("elr-plus", ctx)
    found = method.loss(batch_of(labels, images=image_of(first, second)), ctx).item()

    def mixed(values: Array) -> Array:
        return 0.75 * values + 0.25 * np.roll(values, 1, 0)

    expected = 0.0
    for own, other in ((first, second), (second, first)):
        p, q, t = softmax(mixed(own.numpy())), mixed(np.eye(CLASSES)[labels]), mixed(0.3 * softmax(other))
        held = np.log(1 - (t * np.clip(p, 1e-4, 1 - 1e-4)).sum(1))
        expected += (-(q * np.log(p)).sum(1) + 3.0 * held).mean()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("progress", "decay"), [(0.0, 0.9 * math.exp(-5)), (0.2, 0.9 * math.exp(-1.25)), (0.4, 0.9), (0.8, 0.9)]
)
def test_elr_plus_averages_follow_by_a_decay_that_rises(progress: float, decay: float) -> None:
    ctx = two_of_them(progress)
    method = prepared("elr-plus", ctx, decay=0.9, decay_ramp_share=0.4)
    with torch.no_grad():
        ctx.student.weight.fill_(3.0)
    method.after_step(ctx)
    assert method.averages[0].weight.item() == pytest.approx(decay * 1 + (1 - decay) * 3)
    assert method.averages[1].weight.item() == pytest.approx(1)
