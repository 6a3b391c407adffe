"""proselflc and mylc against float64 NumPy computations, and the reductions they must satisfy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_smkd.correction import Prediction, corrected, logistic
from kdbench_smkd.mylc import ReliabilityCorrection
from torch import Tensor

import kdbench
from tests.plugins.helpers import softmax
from tests.plugins.smkd_by_hand import (
    ALONE,
    CLASSES,
    SAMPLES,
    Array,
    context,
    draw,
    entropy_of,
    gradients_of,
    loss_of,
    target_by_hand,
    weight_of_own,
)

SELF: list[tuple[str, dict[str, Any]]] = [
    ("proselflc", {}),
    ("proselflc", {"b": 6.0, "offset": 0.3}),
    ("proselflc", {"b": 16.0, "offset": 0.9, "target_gradient": "stop"}),
    ("mylc", {}),
    ("mylc", {"b1": 4.0, "rho": 0.2}),
    ("mylc", {"b1": 8.0, "reliability": "batch", "target_gradient": "stop"}),
]


@pytest.mark.parametrize("train_size", [SAMPLES, 4 * SAMPLES])
@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize(("name", "params"), SELF, ids=str)
def test_self_corrected_loss_equals_its_formula(
    name: str, params: dict[str, Any], scale: float, train_size: int
) -> None:
    ours, theirs, labels = draw(0, scale)
    p, q = softmax(ours.numpy()), np.eye(CLASSES)[labels]
    expected = -(target_by_hand(name, p, q, 0.7, train_size, params) * np.log(p)).sum(1).mean()
    found = loss_of(name, ours, theirs, labels, train_size=train_size, **params)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_proselflc_known_answer() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
    prediction = Prediction.of(logits)
    assert prediction.trust.item() == pytest.approx(0.270153, abs=1e-6)
    assert logistic(0.25, 12.0) == pytest.approx(0.952574, abs=1e-6)
    epsilon = logistic(0.25, 12.0) * prediction.trust
    assert epsilon.item() == pytest.approx(0.257341, abs=1e-6)
    target = corrected(prediction, torch.tensor([0]), epsilon, "keep")
    np.testing.assert_allclose(target.numpy(), [[0.922798, 0.051468, 0.025734]], atol=1e-6)
    assert loss_of("proselflc", logits, logits, [0], progress=0.75).item() == pytest.approx(0.471229, abs=1e-6)


def test_mylc_knows_nothing_before_the_first_prediction() -> None:
    ctx = context(0.0, CLASSES, 50)
    correction = ReliabilityCorrection(12.0, 0.5, "record", "keep")
    correction.setup(ctx)
    uniform = Prediction.of(torch.zeros(2, CLASSES))
    assert correction.reliability(uniform, torch.tensor([3, 7])).item() == pytest.approx(0, abs=1e-6)
    certain = Prediction.of(torch.tensor([[50.0, 0, 0, 0, 0], [0, 50.0, 0, 0, 0]]))
    assert correction.reliability(certain, torch.tensor([3, 7])).item() == pytest.approx(2 / 50, abs=1e-6)
    # A newer prediction takes the place of an older one.
    assert correction.reliability(certain, torch.tensor([7, 8])).item() == pytest.approx(3 / 50, abs=1e-6)
    assert correction.reliability(uniform, torch.tensor([7, 8])).item() == pytest.approx(1 / 50, abs=1e-6)


def test_mylc_over_the_batch_is_the_record_when_the_batch_is_everything() -> None:
    ours, theirs, labels = draw(2)
    record, batch = (loss_of("mylc", ours, theirs, labels, reliability=over) for over in ("record", "batch"))
    assert record.item() == pytest.approx(batch.item(), rel=1e-6)
    larger = loss_of("mylc", ours, theirs, labels, train_size=100)
    assert larger.item() != pytest.approx(batch.item(), rel=1e-3)


def of_entropy(p: Array) -> Array:
    """dH(p) / dz (B, C)."""
    found: Array = -p * (np.log(p) + entropy_of(p)[:, None])
    return found


@pytest.mark.parametrize(("name", "params"), SELF, ids=str)
def test_reduction_7_gradient_of_a_self_corrected_label(name: str, params: dict[str, Any]) -> None:
    ours, theirs, labels = draw(5)
    p, q = softmax(ours.numpy()), np.eye(CLASSES)[labels]
    own = weight_of_own(name, p, 0.7, SAMPLES, params)
    stopped, kept = (1 - own) * (p - q) / SAMPLES, own * of_entropy(p) / SAMPLES
    by_mode = {"stop": stopped, "keep": stopped + kept}
    for mode, expected in by_mode.items():
        found, _ = gradients_of(name, ours, theirs, labels, **(params | {"target_gradient": mode}))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)
    assert np.abs(kept).max() > 1e-4


@pytest.mark.parametrize("name", ALONE)
def test_reduction_7_without_trust_it_is_cross_entropy(name: str) -> None:
    ours, theirs, labels = draw(6)
    # At the start of training, or before anything was predicted, a steep logistic function is 0.
    steep: dict[str, Any] = {"proselflc": {"b": 1e4}, "mylc": {"b1": 1e4, "rho": 1.0}}[name]
    found = loss_of(name, ours, theirs, labels, progress=0.0, train_size=1000, **steep)
    assert found.item() == pytest.approx(loss_of("ce", ours, theirs, labels).item(), rel=1e-12)
    torch.testing.assert_close(
        gradients_of(name, ours, theirs, labels, progress=0.0, train_size=1000, **steep),
        gradients_of("ce", ours, theirs, labels),
    )


@pytest.mark.parametrize("gradient", ["keep", "stop"])
def test_gradient_of_a_target_with_a_given_weight_matches_finite_differences(gradient: Any) -> None:
    ours, _, labels = draw(7, 1.0, samples=3)
    epsilon = torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        target = corrected(Prediction.of(logits), torch.tensor(labels), epsilon, gradient)
        return kdbench.losses.soft_cross_entropy(logits, target).sum()

    free = ours.requires_grad_()
    if gradient == "keep":
        assert torch.autograd.gradcheck(loss, (free,))
    else:
        (found,) = torch.autograd.grad(loss(free), free)
        expected = (1 - epsilon.numpy())[:, None] * (softmax(ours.detach().numpy()) - np.eye(CLASSES)[labels])
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
