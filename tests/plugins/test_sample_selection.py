"""Co-teaching(+), MentorNet and S2E against NumPy computations written here, their reductions, and all their values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from kdbench_sample_selection.keep_schedule import draw_schedule
from kdbench_sample_selection.small_loss import small_loss_weights
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench.methods.recipes import Setting
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Condition, LabelNoise, Recipe
from tests.plugins.helpers import make
from tests.plugins.two_networks import (
    CLASSES,
    Window,
    at,
    batch_of,
    draw,
    entropies,
    image_of,
    prepared,
    smallest,
    two_of_them,
)

# Which losses are small, and how many are kept.


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("size", [1, 10, 128])
def test_small_losses_are_those_a_sort_puts_first(share: float, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    losses, among = torch.rand(size, generator=generator), torch.rand(size, generator=generator) < 0.6
    for mask in (None, among):
        expected = np.zeros(size)
        places = smallest(losses.numpy(), share, None if mask is None else mask.numpy())
        expected[places] = 1 / max(1, len(places))
        np.testing.assert_allclose(small_loss_weights(losses, share, mask), expected, rtol=1e-6)


def test_a_share_that_rounding_puts_below_a_whole_number_keeps_that_number() -> None:
    for count, share in itertools.product((1, 7, 64, 129), (0.0, 0.3, 1 / 3, 0.6, 0.7, 1.0)):
        among = torch.arange(129) < count
        exact = (torch.tensor(share, dtype=torch.float64) * count + 1e-6).floor().clamp(min=1)
        assert small_loss_weights(torch.arange(129.0), share, among).count_nonzero() == exact
    assert small_loss_weights(torch.arange(10.0), 1 - 0.9).count_nonzero() == 1
    assert small_loss_weights(torch.arange(10.0), 1 - 0.7).count_nonzero() == 3
    assert small_loss_weights(torch.arange(10.0), 0.7).count_nonzero() == 7


@pytest.mark.parametrize(
    ("params", "progress", "expected"),
    [
        ({}, 0.0, 1.0),
        ({}, 0.025, 0.8),
        ({}, 0.05, 0.6),
        ({}, 0.9, 0.6),
        ({"noise_rate": 0.2}, 0.9, 0.8),
        ({"noise_rate": 0.0}, 0.9, 1.0),
        ({"ramp_share": 0.0}, 0.0, 0.6),
        ({"ramp_share": 0.4, "exponent": 2.0}, 0.1, 0.975),
    ],
)
@pytest.mark.parametrize("name", ["co-teaching", "co-teaching-plus", "mentornet"])
def test_the_kept_share_falls_to_what_the_nominal_rate_leaves(
    name: str, params: dict[str, float], progress: float, expected: float
) -> None:
    assert make(name, **params).keep(two_of_them(progress)) == pytest.approx(expected)  # type: ignore[attr-defined]  # of these three


# Co-teaching, Co-teaching+, MentorNet.


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_co_teaching_and_mentornet_equal_their_formulas(rate: float) -> None:
    first, second, labels = draw(0, batch=10)
    batch, a, b = batch_of(labels, images=image_of(first, second)), entropies(first, labels), entropies(second, labels)
    ctx = two_of_them()
    found = prepared("co-teaching", ctx, noise_rate=rate).loss(batch, ctx)
    assert found.item() == pytest.approx(a[smallest(b, 1 - rate)].mean() + b[smallest(a, 1 - rate)].mean())
    found = prepared("mentornet", ctx, noise_rate=rate).loss(batch, ctx)
    assert found.item() == pytest.approx(a[smallest(a, 1 - rate)].mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_co_teaching_plus_selects_where_predictions_differ(seed: int, rate: float) -> None:
    first, second, labels = draw(seed, batch=10)
    batch, a, b = batch_of(labels, images=image_of(first, second)), entropies(first, labels), entropies(second, labels)
    differ = (first.argmax(1) != second.argmax(1)).numpy()
    assert 0 < differ.sum() < 10
    ctx = two_of_them()
    found = prepared("co-teaching-plus", ctx, noise_rate=rate).loss(batch, ctx)
    expected = a[smallest(b, 1 - rate, differ)].mean() + b[smallest(a, 1 - rate, differ)].mean()
    assert found.item() == pytest.approx(expected)
    at(ctx, 0.09)  # in warm-up
    plain = prepared("co-teaching", ctx, noise_rate=rate)
    assert prepared("co-teaching-plus", ctx, noise_rate=rate).loss(batch, ctx).item() == plain.loss(batch, ctx).item()


def test_each_network_learns_from_what_the_other_selects() -> None:
    first, second, labels = draw(4)
    images = image_of(first, second).requires_grad_()
    ctx = two_of_them(noise=0.5)
    prepared("co-teaching", ctx).loss(batch_of(labels, images=images), ctx).backward()
    assert images.grad is not None
    reached = images.grad.flatten(1)[:, : 2 * CLASSES].reshape(-1, 2, CLASSES).abs().sum(2) > 0
    assert set(np.flatnonzero(reached[:, 0])) == set(smallest(entropies(second, labels), 0.5))
    assert set(np.flatnonzero(reached[:, 1])) == set(smallest(entropies(first, labels), 0.5))


@pytest.mark.parametrize("name", ["co-teaching", "mentornet"])
def test_reduction_10_without_noise_it_is_independent_cross_entropy(name: str) -> None:
    first, second, labels = draw(5)
    images = image_of(first, second).requires_grad_()
    ctx = two_of_them(noise=0.0)
    loss = prepared(name, ctx).loss(batch_of(labels, images=images), ctx)
    (gradient,) = torch.autograd.grad(loss, images)
    networks = [Window(0), Window(1)][: 1 if name == "mentornet" else 2]
    expected = sum(F.cross_entropy(network(images), labels) for network in networks)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, images)[0])


def test_reduction_10_co_teaching_plus_of_identical_networks_falls_back_to_cross_entropy() -> None:
    first, _, labels = draw(6)
    batch, ctx = batch_of(labels, images=image_of(first, first)), two_of_them()
    found = prepared("co-teaching-plus", ctx).loss(batch, ctx)
    assert found.item() == pytest.approx(2 * F.cross_entropy(first, labels).item())
    skipped = prepared("co-teaching-plus", ctx, agreed="skip").loss(batch, ctx)
    assert skipped.item() == 0
    assert skipped.requires_grad


@pytest.mark.parametrize("name", ["co-teaching", "co-teaching-plus", "mentornet"])
def test_gradients_of_selected_losses_are_right(name: str) -> None:
    first, second, labels = draw(7)
    ctx = two_of_them()
    method = prepared(name, ctx)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = method.loss(batch_of(labels, images=image_of(a, b)), ctx)
        return found

    assert torch.autograd.gradcheck(loss, (first.requires_grad_(), second.requires_grad_()))


@pytest.mark.parametrize("name", ["co-teaching", "co-teaching-plus", "s2e", "dividemix", "elr-plus"])
def test_what_is_measured_is_one_of_the_two_or_the_mean_of_both(name: str) -> None:
    first, second, _ = draw(8)
    for evaluate, expected in (("student", first), ("peer", second), ("ensemble", (first + second) / 2)):
        ctx = two_of_them()
        found = prepared(name, ctx, evaluate=evaluate).predictor(ctx)(image_of(first, second))
        torch.testing.assert_close(found, expected)
    defaults = {"co-teaching": "student", "co-teaching-plus": "student", "s2e": "student"}
    assert make(name).evaluate == defaults.get(name, "ensemble")  # type: ignore[attr-defined]  # of all pairs


# S2E.


def test_schedules_start_at_1_and_fall_and_differ_from_each_other() -> None:
    ends = []
    for number in range(50):
        kept = [draw_schedule(3, number)(t) for t in np.linspace(0, 1, 21)]
        assert kept[0] == pytest.approx(1)
        assert all(0 <= later <= earlier + 1e-12 for earlier, later in itertools.pairwise(kept))
        ends.append(kept[-1])
    assert len(set(ends)) == 50
    assert min(ends) < 0.35
    assert max(ends) > 0.8
    assert draw_schedule(3, 7) == draw_schedule(3, 7) != draw_schedule(4, 7)


def test_a_schedule_is_its_formula() -> None:
    schedule, t = draw_schedule(0, 0), 0.3
    falls = (
        np.exp(-schedule.rates[0] * t),
        (1 + schedule.rates[1] * t) ** -schedule.power,
        1 - np.log(1 + schedule.rates[2] * t) / np.log(1 + schedule.rates[2]),
    )
    floors = np.array(schedule.floors)
    assert schedule(t) == pytest.approx(np.dot(schedule.weights, floors + (1 - floors) * falls))
    assert sum(schedule.weights) == pytest.approx(1)


def test_s2e_needs_one_short_training_a_candidate() -> None:
    spec = load_plugins().methods.get("s2e")
    needed = spec.needed(spec.validate({"candidates": 3, "search_share": 0.1, "holdout": 0.2, "search_seed": 5}))
    assert sorted(needed) == ["candidate0", "candidate1", "candidate2"]
    assert needed["candidate2"] == kdbench.Network(
        like="student",
        method="s2e-candidate",
        params={"number": 2, "search_seed": 5, "holdout": 0.2},
        epochs_share=0.1,
        least_steps=500,
    )


def test_what_is_measured_of_the_student_changes_no_candidate() -> None:
    spec = load_plugins().methods.get("s2e")
    assert spec.needed(spec.validate({"evaluate": "peer"})) == spec.needed(spec.validate({}))


def test_a_candidate_learns_nothing_of_what_is_held_out() -> None:
    first, second, labels = draw(9)
    images, ctx = image_of(first, second).requires_grad_(), two_of_them(progress=0.0)
    prepared("s2e-candidate", ctx, holdout=0.5).loss(batch_of(labels, images=images), ctx).backward()
    assert images.grad is not None
    held = ctx.held_out(0.5)
    assert held.sum() == 4
    assert torch.equal(images.grad.flatten(1).abs().sum(1) > 0, ~held)


@pytest.mark.parametrize("number", [0, 3, 8])
@pytest.mark.parametrize("progress", [0.1, 0.5, 0.9])
def test_a_candidate_is_co_teaching_by_its_schedule_on_what_is_not_held_out(number: int, progress: float) -> None:
    first, second, labels = draw(20, batch=20)
    ctx, a, b = two_of_them(progress, size=20), entropies(first, labels), entropies(second, labels)
    learnt = ~ctx.held_out(0.3, 5).numpy()
    share = draw_schedule(5, number)(progress)
    expected = a[smallest(b, share, learnt)].mean() + b[smallest(a, share, learnt)].mean()
    method = prepared("s2e-candidate", ctx, number=number, search_seed=5, holdout=0.3)

    def loss(ours: Tensor, theirs: Tensor) -> Tensor:
        found: Tensor = method.loss(batch_of(labels, images=image_of(ours, theirs)), ctx)
        return found

    assert loss(first, second).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(loss, (first.requires_grad_(), second.requires_grad_()))


@pytest.mark.parametrize("seed", [0, 4, 9])
def test_s2e_follows_the_candidate_that_held_out_labels_favour(seed: int) -> None:
    first, second, labels = draw(10)
    held = two_of_them().held_out(0.5, seed)
    right = F.one_hot(labels, CLASSES).double()
    half = torch.where((torch.arange(8) == held.nonzero()[0]).unsqueeze(1), right.roll(1, 1), right)
    elsewhere = torch.where(held.unsqueeze(1), right.roll(1, 1), right)  # right on all but the images that count
    answers = dict(zip(("candidate0", "candidate1", "candidate2"), (elsewhere, right, half), strict=True))
    ctx = two_of_them(progress=0.0)
    ctx.networks = {role: Window(0) for role in answers}
    ctx._train = kdbench.TrainSet(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), labels, CLASSES)
    ctx._predict = lambda network: next(answers[role] for role, known in ctx.networks.items() if known is network)
    method = prepared("s2e", ctx, candidates=3, holdout=0.5, search_seed=seed)
    method.on_epoch_start(ctx)
    at(ctx, 0.5)
    batch, a, b = batch_of(labels, images=image_of(first, second)), entropies(first, labels), entropies(second, labels)
    share = draw_schedule(seed, 1)(0.5)
    expected = a[smallest(b, share)].mean() + b[smallest(a, share)].mean()
    assert method.loss(batch, ctx).item() == pytest.approx(expected)
    resumed = prepared("s2e", ctx, candidates=3, holdout=0.5, search_seed=seed)
    resumed.load_state(method.state())
    resumed.on_epoch_start(ctx)
    assert resumed.loss(batch, ctx).item() == pytest.approx(expected)


# What the papers say, and what is refused.


def resolved(name: str, dataset: str, kind: str | None, rate: float = 0.4) -> dict[str, Any]:
    noise = LabelNoise(kind=kind, rate=rate) if kind else None
    condition = Condition(recipe=Recipe(epochs=1, batch_size=1, lr=0.1), noise=noise)
    found = load_plugins().methods.get(name).resolve({}, Setting("mine", dataset, "wrn-10-1", condition))
    assert found.tuned == {}
    return found.params


def test_published_values_go_with_data_and_noise() -> None:
    weights = {
        ("cifar10", "symmetric"): {0.2: 0, 0.5: 25, 0.8: 25, 0.9: 50},
        ("cifar10", "asymmetric-cifar10"): {0.4: 0},
        ("cifar100", "symmetric-inclusive"): {0.2: 25, 0.5: 150, 0.8: 150, 0.9: 150},
        ("cifar100", "pair-flip"): {0.2: 150},
    }
    for (dataset, kind), table in weights.items():
        for rate, weight in table.items():
            params = resolved("dividemix", dataset, kind, rate)
            assert params["lambda_u"] == weight
            assert (params["threshold"], params["averaged_epochs"]) == ((0.6, 5) if rate == 0.9 else (0.5, 1))
            assert params["warmup_share"] == pytest.approx(0.1 if dataset == "cifar100" else 1 / 30)
    elr = {key: resolved("elr-plus", *key) for key in (("cifar10", "symmetric"), ("cifar10", "asymmetric-cifar10"))}
    assert [(params["weight"], params["beta"], params["reweight"]) for params in elr.values()] == [
        (3.0, 0.7, False),
        (1.0, 0.9, False),
    ]
    hundred = resolved("elr-plus", "cifar100", "symmetric")
    assert (hundred["weight"], hundred["beta"], hundred["ramp_share"], hundred["reweight"]) == (7.0, 0.9, 0.41, True)
    assert resolved("co-teaching-plus", "cifar100", None)["warmup_share"] == 0.025


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("co-teaching", {"noise_rate": 1.0}, "noise_rate: input should be less than 1"),
        ("co-teaching", {"noise_rate": -0.1}, "noise_rate: input should be greater than or equal to 0"),
        ("co-teaching-plus", {"agreed": "stop"}, "agreed: input should be 'cross-entropy' or 'skip'"),
        ("co-teaching-plus", {"exponent": 0}, "exponent: input should be greater than 0"),
        ("mentornet", {"ramp_share": 1.5}, "ramp_share: input should be less than or equal to 1"),
        ("s2e", {"candidates": 0}, "candidates: input should be greater than or equal to 1"),
        ("s2e", {"holdout": 1.0}, "holdout: input should be less than 1"),
        ("dividemix", {"temperature": 0}, "temperature: input should be greater than 0"),
        ("dividemix", {"threshold": 1.0}, "threshold: input should be less than 1"),
        ("dividemix", {"warmup_share": 0}, "warmup_share: input should be greater than 0"),
        ("dividemix", {"evaluate": "both"}, "evaluate: input should be 'student', 'peer' or 'ensemble', found 'both'"),
        ("elr-plus", {"beta": 1.0}, "beta: input should be less than 1"),
        ("elr-plus", {"alpha": 0}, "alpha: input should be greater than 0"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)
