"""The label losses and Tf-KD against float64 NumPy computations written here, and the reductions they must satisfy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.plugin.loader import load_plugins
from tests.plugins.helpers import Legible, image_of, make, make_batch, make_context, softmax

Array = np.ndarray[Any, Any]
Formula = Callable[..., Array]


def loss_of(name: str, logits: Tensor, labels: list[int], second: Tensor | None = None, **params: Any) -> Tensor:
    """The scalar loss of a method whose student has these logits (B, C), for GJS ``second`` for the second view."""
    views = {"images": image_of(logits), "second": image_of(logits if second is None else second)}
    classes = logits.shape[1]
    return make(name, **params).loss(make_batch(labels, **views), make_context(Legible(classes), classes=classes))


def gradient_of(name: str, logits: Tensor, labels: list[int], **params: Any) -> Tensor:
    free = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(name, free, labels, **params), free)
    return gradient


def draw(seed: int, scale: float, batch: int = 6, classes: int = 5) -> tuple[Tensor, Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    first, second = (scale * torch.randn(batch, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return first, second, torch.randint(classes, (batch,), generator=generator).tolist()


# The formulas, from probabilities p (B, C), the one-hot labels q and the method's parameters.


def kl(p: Array, r: Array) -> Array:
    """KL(p || r) for each row, 0 ln 0 being 0."""
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / r), 0).sum(1)


def jsd(distributions: list[Array], weights: list[float], scale: str) -> Array:
    m = sum(w * d for w, d in zip(weights, distributions, strict=True))
    total = sum(w * kl(d, m) for w, d in zip(weights, distributions, strict=True))
    return total * (-1 / ((1 - weights[0]) * math.log(1 - weights[0])) if scale == "gjs" else 1.0)


def by_cross_entropy(p: Array, q: Array) -> Array:
    return -(q * np.log(p)).sum(1)


def by_label_smoothing(p: Array, q: Array, epsilon: float = 0.1) -> Array:
    return -(((1 - epsilon) * q + epsilon / p.shape[1]) * np.log(p)).sum(1)


def by_confidence_penalty(p: Array, q: Array, epsilon: float = 0.1, target_gradient: str = "keep") -> Array:
    return -(((1 - epsilon) * q - epsilon * p) * np.log(p)).sum(1)


def by_soft_bootstrapping(p: Array, q: Array, beta: float = 0.5, target_gradient: str = "keep") -> Array:
    return -(((1 - beta) * q + beta * p) * np.log(p)).sum(1)


def by_hard_bootstrapping(p: Array, q: Array, beta: float = 0.2) -> Array:
    return -(((1 - beta) * q + beta * np.eye(p.shape[1])[p.argmax(1)]) * np.log(p)).sum(1)


def by_mae(p: Array, q: Array, scale: float = 1.0) -> Array:
    return scale * np.abs(q - p).sum(1) / 2


def by_gce(p: Array, q: Array, exponent: float) -> Array:
    return (1 - (p * q).sum(1) ** exponent) / exponent


def by_rce(p: Array, q: Array, log_zero: float = math.log(1e-4)) -> Array:
    return -(p * np.where(q > 0, 0, log_zero)).sum(1)


def by_sce(p: Array, q: Array, alpha: float = 0.1, beta: float = 1.0, **rce: float) -> Array:
    return -alpha * (q * np.log(p)).sum(1) + beta * by_rce(p, q, **rce)


def by_nce_rce(p: Array, q: Array, alpha: float = 10.0, beta: float = 0.1, **rce: float) -> Array:
    return alpha * (q * np.log(p)).sum(1) / np.log(p).sum(1) + beta * by_rce(p, q, **rce)


def by_js(p: Array, q: Array, pi1: float = 0.1, scale: str = "gjs") -> Array:
    return jsd([q, p], [pi1, 1 - pi1], scale)


def by_tf_kd(
    p: Array, q: Array, alpha: float = 0.1, temperature: float = 20.0, correct: float = 0.99, multiplier: float = 1.0,
    form: str = "code",
) -> Array:  # fmt: skip
    hand_made = softmax(np.where(q > 0, correct, (1 - correct) / (q.shape[1] - 1)), temperature)
    softened = softmax(np.log(p), temperature)
    soft = kl(hand_made, p) if form == "code" else temperature**2 * kl(hand_made, softened)
    return -(1 - alpha) * (q * np.log(p)).sum(1) + alpha * multiplier * soft


CASES: list[tuple[str, Formula, dict[str, Any]]] = [
    ("ce", by_cross_entropy, {}),
    *(("label-smoothing", by_label_smoothing, params) for params in ({}, {"epsilon": 0.5}, {"epsilon": 0.9})),
    *(
        ("confidence-penalty", by_confidence_penalty, params)
        for params in ({}, {"epsilon": 0.3}, {"epsilon": 0.5}, {"target_gradient": "stop"})
    ),
    *(
        ("bootstrap-soft", by_soft_bootstrapping, params)
        for params in ({}, {"beta": 0.2}, {"beta": 0.9}, {"target_gradient": "stop"})
    ),
    *(("bootstrap-hard", by_hard_bootstrapping, params) for params in ({}, {"beta": 0.5}, {"beta": 1.0})),
    *(("mae", by_mae, params) for params in ({}, {"scale": 2.0}, {"scale": 0.3})),
    *(("gce", lambda p, q, v=v: by_gce(p, q, v), {"q": v}) for v in (0.1, 0.5, 0.9)),
    ("gce", lambda p, q: by_gce(p, q, 0.7), {}),
    *(
        ("sce", by_sce, params)
        for params in ({}, {"alpha": 0.05, "beta": 0.1}, {"alpha": 0.2}, {"alpha": 6.0, "beta": 0.1, "log_zero": -4.0})
    ),
    *(
        ("nce-rce", by_nce_rce, params)
        for params in ({}, {"alpha": 1.0}, {"alpha": 20.0, "beta": 0.5}, {"beta": 1.0, "log_zero": -4.0})
    ),
    *(("js", by_js, params) for params in ({}, {"pi1": 0.3}, {"pi1": 0.9}, {"pi1": 0.5, "scale": "none"})),
    *(
        ("tf-kd-reg", by_tf_kd, params)
        for params in (
            {}, {"alpha": 0.95, "temperature": 10.0, "multiplier": 0.01}, {"correct": 0.9, "temperature": 1.0},
            {"form": "paper"}, {"form": "paper", "alpha": 0.5, "temperature": 4.0},
        )
    ),
]  # fmt: skip


def labelled(case: tuple[str, Formula, dict[str, Any]]) -> str:
    return " ".join([case[0], *(f"{key}={value}" for key, value in case[2].items())])


@pytest.mark.parametrize("case", CASES, ids=labelled)
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_loss_equals_its_formula(case: tuple[str, Formula, dict[str, Any]], scale: float) -> None:
    name, formula, params = case
    logits, _, labels = draw(0, scale)
    expected = formula(softmax(logits.numpy()), np.eye(5)[labels], **({} if name == "gce" else params)).mean()
    assert loss_of(name, logits, labels, **params).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [0.3, 3.0])
@pytest.mark.parametrize("params", [{}, {"pi1": 0.3}, {"pi1": 0.9}, {"scale": "none"}], ids=str)
def test_gjs_equals_its_formula(params: dict[str, Any], scale: float) -> None:
    first, second, labels = draw(1, scale)
    pi1 = params.get("pi1", 0.5)
    distributions = [np.eye(5)[labels], softmax(first.numpy()), softmax(second.numpy())]
    expected = jsd(distributions, [pi1, (1 - pi1) / 2, (1 - pi1) / 2], params.get("scale", "gjs")).mean()
    assert loss_of("gjs", first, labels, second=second, **params).item() == pytest.approx(expected, rel=1e-6)


SMOOTH = [case for case in CASES if "stop" not in case[2].values()]  # there the derivative is another function's


@pytest.mark.parametrize("case", SMOOTH, ids=labelled)
def test_gradient_matches_finite_differences(case: tuple[str, Formula, dict[str, Any]]) -> None:
    logits, _, labels = draw(2, 1.0, batch=3, classes=4)
    free = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss_of(case[0], z, labels, **case[2]), (free,))


def test_gradient_of_gjs_goes_through_both_predictions() -> None:
    first, second, labels = draw(3, 1.0, batch=3, classes=4)
    views = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: loss_of("gjs", a, labels, second=b), views)
    for gradient in torch.autograd.grad(loss_of("gjs", first, labels, second=second), views):
        assert (gradient.abs().sum(1) > 0).all()


# Known answers for y = (1, 0, 0), p = (.7, .2, .1), worked out by hand.


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("mae", {}, 0.3),
        ("gce", {}, 0.315634),
        ("sce", {}, 2.798770),
        ("sce", {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0}, 1.235667),
        ("nce-rce", {}, 1.111869),
        ("nce-rce", {"alpha": 1.0, "beta": 0.0}, 0.083556),
        ("js", {"pi1": 0.3}, 0.345860),
        ("js", {"pi1": 0.3, "scale": "none"}, 0.086352),
        ("gjs", {"pi1": 0.3}, 0.345860),
    ],
)
def test_known_answer(name: str, params: dict[str, Any], expected: float) -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log()
    assert loss_of(name, logits, [0], **params).item() == pytest.approx(expected, abs=2e-6)


def test_gjs_known_answer() -> None:
    # Weights .3, .35, .35; m = (.72, .175, .105).
    logits, second = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.5, 0.3, 0.2]]).log()
    found = loss_of("gjs", logits, [0], second=second, pi1=0.3, scale="none").item()
    m = (0.3 + 0.35 * 1.2, 0.35 * 0.5, 0.35 * 0.3)
    terms = [0.3 * math.log(1 / m[0])]
    for p in ((0.7, 0.2, 0.1), (0.5, 0.3, 0.2)):
        terms += [0.35 * a * math.log(a / b) for a, b in zip(p, m, strict=True)]
    assert found == pytest.approx(math.fsum(terms), abs=1e-6)


# Reductions.

EVERY = (
    "ce", "label-smoothing", "confidence-penalty", "bootstrap-soft", "bootstrap-hard", "mae", "gce", "sce", "nce-rce",
    "js", "gjs", "tf-kd-reg",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_reduction_2_doubling_the_batch_by_repetition_changes_nothing(name: str) -> None:
    logits, second, labels = draw(4, 2.0)
    once = loss_of(name, logits, labels, second=second)
    twice = loss_of(name, torch.cat([logits] * 2), labels * 2, second=torch.cat([second] * 2))
    assert twice.item() == pytest.approx(once.item(), rel=1e-12)


def test_reduction_2_tf_kd_with_alpha_0_is_ce_and_with_an_equal_student_has_no_divergence() -> None:
    logits, _, labels = draw(5, 2.0)
    torch.testing.assert_close(gradient_of("tf-kd-reg", logits, labels, alpha=0), gradient_of("ce", logits, labels))
    equal = torch.full((6, 5), 0.01 / 4, dtype=torch.float64)
    equal[range(6), labels] = 0.99
    for student, form in ((equal / 20, "code"), (equal, "paper")):
        assert loss_of("tf-kd-reg", student, labels, alpha=1, form=form).item() == pytest.approx(0, abs=1e-12)
        assert gradient_of("tf-kd-reg", student, labels, alpha=1, form=form).abs().max() < 1e-9


@pytest.mark.parametrize("p", [0.06, 0.3, 0.94])
def test_reduction_6_scaled_js_tends_to_ce(p: float) -> None:
    logits = torch.tensor([[p, 0.7 * (1 - p), 0.3 * (1 - p)]], dtype=torch.float64).log()
    for name in ("js", "gjs"):
        assert loss_of(name, logits, [0], pi1=1e-4).item() == pytest.approx(-math.log(p), rel=0.01)


@pytest.mark.parametrize("pi1", [0.1, 0.5, 0.9])
def test_reduction_6_gjs_with_equal_views_is_js_in_value_and_gradient(pi1: float) -> None:
    logits, _, labels = draw(6, 2.0)
    assert loss_of("gjs", logits, labels, pi1=pi1).item() == pytest.approx(
        loss_of("js", logits, labels, pi1=pi1).item(), rel=1e-12
    )
    torch.testing.assert_close(gradient_of("gjs", logits, labels, pi1=pi1), gradient_of("js", logits, labels, pi1=pi1))


@pytest.mark.parametrize(
    ("name", "params", "other", "factor"),
    [
        ("gce", {"q": 1e-7}, "ce", 1.0),
        ("gce", {"q": 1.0}, "mae", 1.0),
        ("sce", {"alpha": 0.3, "beta": 0.0}, "ce", 0.3),
        ("label-smoothing", {"epsilon": 0.0}, "ce", 1.0),
        ("bootstrap-soft", {"beta": 0.0}, "ce", 1.0),
        ("bootstrap-hard", {"beta": 0.0}, "ce", 1.0),
        ("confidence-penalty", {"epsilon": 0.0}, "ce", 1.0),
        # Without the gradient through the target's own part, its share of the loss has none.
        ("bootstrap-soft", {"beta": 0.4, "target_gradient": "stop"}, "ce", 0.6),
        ("confidence-penalty", {"epsilon": 0.4, "target_gradient": "stop"}, "ce", 0.6),
    ],
)
def test_reduction_7_limits(name: str, params: dict[str, Any], other: str, factor: float) -> None:
    logits, _, labels = draw(7, 2.0)
    if "target_gradient" not in params:
        expected = factor * loss_of(other, logits, labels).item()
        assert loss_of(name, logits, labels, **params).item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(
        gradient_of(name, logits, labels, **params), factor * gradient_of(other, logits, labels), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("target_gradient", ["keep", "stop"])
def test_soft_bootstrapping_clamps_probabilities_inside_the_logarithm(target_gradient: str) -> None:
    """As the code of Englesson & Azizpour: it stops the pull towards a label that the network is sure is wrong."""
    logits, beta = torch.tensor([[0.0, 30.0, 1.0], [0.0, 3.0, 1.0]], dtype=torch.float64), 0.4
    p = softmax(logits.numpy())
    assert p[0, 0] < 1e-7 < p[1, 0]
    log, q = np.log(np.maximum(p, 1e-7)), np.eye(3)[[0, 0]]
    expected = -(((1 - beta) * q + beta * p) * log).sum(1).mean()
    found = loss_of("bootstrap-soft", logits, [0, 0], beta=beta, target_gradient=target_gradient)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    # dL/dz_k = sum_c dL/dp_c p_c ((c = k) - p_k), with no part of a clamped logarithm.
    through_log = -((1 - beta) * q + beta * p) / p * (p > 1e-7)
    through_target = -beta * log if target_gradient == "keep" else 0
    of_p = through_log + through_target
    of_z = p * (of_p - (of_p * p).sum(1, keepdims=True)) / 2
    gradient = gradient_of("bootstrap-soft", logits, [0, 0], beta=beta, target_gradient=target_gradient)
    np.testing.assert_allclose(gradient, of_z, rtol=1e-6, atol=1e-15)
    assert gradient[0].abs().max() < 1e-6 < gradient_of("ce", logits, [0, 0])[0].abs().max()


@pytest.mark.parametrize("name", ["bootstrap-soft", "confidence-penalty"])
def test_reduction_7_the_kept_gradient_is_that_of_the_entropy(name: str) -> None:
    logits, _, labels = draw(8, 2.0)
    p = softmax(logits.numpy())
    entropy = -(p * np.log(p)).sum(1, keepdims=True)
    of_entropy = -p * (np.log(p) + entropy)  # dH(p)/dz
    weight = {"bootstrap-soft": {"beta": 0.3}, "confidence-penalty": {"epsilon": 0.3}}[name]
    sign = {"bootstrap-soft": 1, "confidence-penalty": -1}[name]
    expected = (0.7 * (p - np.eye(5)[labels]) + sign * 0.3 * of_entropy) / len(labels)
    np.testing.assert_allclose(gradient_of(name, logits, labels, **weight).numpy(), expected, atol=1e-12)
    stopped = gradient_of(name, logits, labels, **weight, target_gradient="stop").numpy()
    np.testing.assert_allclose(stopped, 0.7 * (p - np.eye(5)[labels]) / len(labels), atol=1e-12)


def test_smoothing_over_the_wrong_classes_only_is_a_larger_epsilon() -> None:
    logits, _, labels = draw(9, 2.0)
    log_p = torch.log_softmax(logits, 1).numpy()
    target = np.where(np.eye(5)[labels] > 0, 0.9, 0.1 / 4)
    found = loss_of("label-smoothing", logits, labels, epsilon=0.1 * 5 / 4).item()
    assert found == pytest.approx(-(target * log_p).sum(1).mean(), rel=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_saturated_predictions_give_a_finite_loss_and_gradient(name: str) -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]])
    for labels in ([1, 1], [0, 1]):
        assert loss_of(name, logits, labels).isfinite()
        assert gradient_of(name, logits, labels).isfinite().all()


# Mistakes, and what is said of each method.


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ce", {"view": "weak"}, "view: input should be 'suite' or 'strong', found 'weak'"),
        ("label-smoothing", {"epsilon": 1.1}, "epsilon: input should be less than or equal to 1, found 1.1"),
        ("confidence-penalty", {"epsilon": 1.0}, "epsilon: input should be less than 1"),
        ("confidence-penalty", {"target_gradient": "no"}, "target_gradient: input should be 'keep' or 'stop'"),
        ("bootstrap-soft", {"beta": -0.1}, "beta: input should be greater than or equal to 0"),
        ("bootstrap-hard", {"beta": 2}, "beta: input should be less than or equal to 1"),
        ("mae", {"scale": 0}, "scale: input should be greater than 0"),
        ("gce", {"q": 0}, "q: input should be greater than 0"),
        ("gce", {"q": 1.5}, "q: input should be less than or equal to 1"),
        ("sce", {"alpha": 0}, "alpha: input should be greater than 0"),
        ("sce", {"log_zero": 0}, "log_zero: input should be less than 0"),
        ("nce-rce", {"beta": -1}, "beta: input should be greater than or equal to 0"),
        ("js", {"pi1": 0}, "pi1: input should be greater than 0"),
        ("gjs", {"pi1": 1}, "pi1: input should be less than 1"),
        ("gjs", {"scale": "paper"}, "scale: input should be 'gjs' or 'none'"),
        ("tf-kd-reg", {"temperature": 0}, "temperature: input should be greater than 0"),
        ("tf-kd-reg", {"correct": 1.2}, "correct: input should be less than or equal to 1"),
        ("tf-kd-reg", {"form": "both"}, "form: input should be 'code' or 'paper'"),
        ("tf-kd-reg", {"alpha": float("nan")}, "alpha"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)


@pytest.mark.parametrize("name", [*EVERY, "kd"])
def test_every_method_says_what_it_computes_and_where_that_is_from(name: str) -> None:
    spec = load_plugins().methods.get(name)
    idea, _, rest = (spec.target.__doc__ or "").partition("\n")
    assert idea.endswith(".") and 20 < len(idea) <= 110
    assert "    L = " in rest
    assert spec.paper.startswith("https://arxiv.org/abs/") or name == "ce"
    assert all(field.description for field in spec.parameters.model_fields.values())
