"""The reductions that noisy collaboration must satisfy, as numbered in the project's list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from kdbench_noisy_collaboration.fixed_corruption import corrupted
from kdbench_noisy_collaboration.signal_noise import scaled_at_random
from kdbench_noisy_collaboration.target_variability import redrawn
from torch import Tensor

from kdbench.plugin.loader import load_plugins
from kdbench.testing import _Trial
from tests.plugins.helpers import image_of, make, make_batch
from tests.plugins.noisy_by_hand import (
    CLASSES,
    QUIET,
    SETTINGS,
    Seen,
    context,
    draw,
    fresh,
    gradient_of,
    loss_of,
)


@pytest.mark.parametrize("name", QUIET)
def test_reduction_1_without_noise_loss_and_gradient_are_those_of_kd(name: str) -> None:
    student, teacher, labels = draw(10)
    for settings in SETTINGS:
        quiet = QUIET[name] | settings
        assert torch.equal(
            loss_of(name, student, teacher, labels, **quiet), loss_of("kd", student, teacher, labels, **settings)
        )
        assert torch.equal(
            gradient_of(name, student, teacher, labels, **quiet),
            gradient_of("kd", student, teacher, labels, **settings),
        )


def trained(name: str, params: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    spec = load_plugins().methods.get(name)
    return _Trial(spec, spec.validate(params or {}), CLASSES).train(seed=0)


def test_reduction_1_without_noise_the_whole_training_is_that_of_kd() -> None:
    expected = trained("kd")
    for name, quiet in QUIET.items():
        found = trained(name, quiet)
        assert expected.keys() == found.keys()
        assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items()), name
    noisy = trained("swap-all", {"pi": 1.0, "theta": 1.0})
    assert any(not torch.equal(tensor, noisy[key]) for key, tensor in expected.items())


@pytest.mark.parametrize("name", QUIET)
def test_reduction_2_alpha_0_is_cross_entropy_and_an_equal_teacher_teaches_nothing(name: str) -> None:
    student, teacher, labels = draw(11)
    torch.testing.assert_close(
        gradient_of(name, student, teacher, labels, **QUIET[name], alpha=0.0),
        gradient_of("ce", student, teacher, labels),
    )
    equal = {**QUIET[name], "alpha": 1.0}
    assert loss_of(name, student, student, labels, **equal).item() == pytest.approx(0, abs=1e-12)
    assert gradient_of(name, student, student, labels, **equal).abs().amax() < 1e-12


@pytest.mark.parametrize(
    ("name", "params"),
    [*QUIET.items(), ("swap-top2", {"pi": 1.0, "theta": 0.5}), ("swap-all", {"pi": 1.0, "theta": 0.5})],
)
def test_reduction_2_doubling_the_batch_by_repetition_changes_nothing(name: str, params: dict[str, Any]) -> None:
    student, teacher, labels = draw(12)
    once = loss_of(name, student, teacher, labels, **params)
    twice = loss_of(name, torch.cat([student] * 2), torch.cat([teacher] * 2), labels * 2, **params)
    assert twice.item() == pytest.approx(once.item(), rel=1e-12)


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_reduction_3_labels_are_replaced_by_wrong_ones_at_the_rate_and_anew_at_each_visit(
    rate: float, classes: int
) -> None:
    labels = torch.arange(100_000) % classes
    generator = fresh()
    first, second = (redrawn(labels, rate, classes, generator) for _ in range(2))
    once, again = (corrupted(labels, rate, classes, 0) for _ in range(2))
    for changed in (first, second, once):
        wrong = changed != labels
        assert wrong.double().mean().item() == pytest.approx(rate, abs=0.005)
        shifts = torch.bincount((changed - labels)[wrong] % classes, minlength=classes).double()
        assert shifts[0] == 0
        expected = wrong.sum().item() / (classes - 1)
        assert (shifts[1:] - expected).abs().amax() < 5 * expected**0.5 + 1e-9, "uniform over the other classes"
    both = ((first != labels) & (second != labels)).double().mean().item()
    assert both == pytest.approx(rate**2, abs=0.005)
    assert torch.equal(once, again)


def test_reduction_3_target_variability_redraws_in_each_epoch_and_fixed_corruption_does_not() -> None:
    student, teacher, labels = draw(13, batch=40)
    for name, same in (("messy-collaboration", False), ("fixed-label-corruption", True)):
        ctx, method = context(Seen(teacher), labels), make(name, variant="S")
        losses = []
        for epoch in range(2):
            ctx.epoch = epoch
            ctx.generator.manual_seed(epoch)
            method.on_epoch_start(ctx)
            losses.append(method.loss(make_batch(labels, images=image_of(student)), ctx).item())
        assert (losses[0] == losses[1]) is same


@pytest.mark.parametrize("name", ["messy-collaboration", "fixed-label-corruption"])
def test_reduction_3_with_alpha_1_the_gradient_does_not_depend_on_the_rate(name: str) -> None:
    student, teacher, labels = draw(14)
    for variant in ("S", "TS"):
        gradients = [
            gradient_of(name, student, teacher, labels, variant=variant, rate=rate, alpha=1.0) for rate in (0, 0.5, 1)
        ]
        assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_reduction_4_only_independent_noise_changes_the_ranking() -> None:
    logits = draw(15, batch=500)[1]
    ranking = logits.argsort(1)
    independent = scaled_at_random(logits, 0.3, "independent", fresh())
    changed = (independent.argsort(1) != ranking).any(1).double().mean().item()
    assert 0.2 < changed < 0.9
    # Three standard deviations stay above -1, where a factor would turn the ranking round.
    shared = scaled_at_random(logits, 0.1, "shared", fresh())
    assert torch.equal(shared.argsort(1), ranking)
    assert not torch.equal(shared, logits)


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_noise_on_a_logit_grows_with_it(sigma: float) -> None:
    logits = torch.tensor([[0.0, 1.0, -4.0]]).expand(50_000, 3)
    noisy = scaled_at_random(logits, sigma, "independent", fresh())
    np.testing.assert_allclose(noisy.mean(0), logits[0], atol=0.02 * 4 * sigma)
    np.testing.assert_allclose(noisy.std(0), sigma * logits[0].abs(), rtol=0.02)
