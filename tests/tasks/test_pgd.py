from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import PGDResult
from kdbench.errors import KdbenchError
from kdbench.running.evaluation import TaskResult
from kdbench.tasks import EvaluationContext, TestData
from kdbench.tasks._reliability import check_steps
from kdbench.tasks.pgd import PGD
from kdbench.tasks.transfer import Transfer
from tests.tasks.helpers import Nearest, TinyNet, assert_share, flat, image_set, measure, one, select

TWO = (100, 150)
"""Levels of two classes: what is below 125 is the first."""
STEPS = (10, 12)
EPS = 0.02


def margins() -> TestData:
    """Two classes at known distances from the border; eps = 0.031 is 7.9 levels. Two of eighteen are wrong."""
    below = [-60, -30, -12, -9, -7, -5, -3, -1, 15]
    above = [60, 31, 13, 10, 6, 4, 3, 2, -20]
    levels = [125 + d for d in below + above]
    return TestData(image_set(flat(levels), [0] * 9 + [1] * 9, classes=2))


def distances(data: TestData) -> np.ndarray:
    """How far each image is on the right side of the border, in levels; negative when it is misclassified."""
    seen = data.test.images.numpy()[:, 0, 0, 0].astype(float) - 125
    return seen * np.where(data.test.labels.numpy() == 1, 1, -1)


def random_net(count: int = 100) -> tuple[TinyNet, TestData]:
    """A network that is right about four images of five and that small steps break in part."""
    model = TinyNet(4, seed=3)
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        labels = model(images.float() / 255).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return model, TestData(image_set(images, labels.tolist(), classes=4))


@pytest.fixture(scope="module")
def mixed() -> TaskResult:
    model, data = random_net()
    return measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=3)


def test_a_linear_model_is_broken_up_to_the_radius_and_no_further() -> None:
    data = margins()
    away = distances(data)
    standing, right = away > 0.031 * 255, away > 0
    assert (standing.sum(), right.sum()) == (8, 16)
    outcome = measure(PGD(), Nearest(TWO), data, steps=STEPS, restarts=2)
    for variant, steps in itertools.product(("pgd-std", "pgd-arani"), STEPS):
        assert np.array_equal(outcome.correct[f"{variant}-{steps}/correct"].numpy(), standing)
        for rule in ("worst", "any", "min-run", "mean"):
            setting = {"variant": variant, "steps": steps, "rule": rule}
            assert_share(one(outcome, "robust_accuracy", **setting), standing.sum(), len(standing))
            assert_share(one(outcome, "conditional_accuracy", **setting), standing[right].sum(), right.sum())
        assert {score.value for score in select(outcome, "zero_gradient_share", variant=variant)} == {0}


def test_one_step_of_each_variant_goes_as_far_as_its_step_size() -> None:
    """The mean over pixels of min(start + step, eps), start uniform: 1.9 levels for 2/255 and 5.8 for 0.03."""
    data = margins()
    outcome = measure(PGD(), Nearest(TWO), data, steps=[1], restarts=1)
    for variant, reach in (("pgd-std", 2.5), ("pgd-arani", 5.5)):
        away = distances(data)
        clear = away != 2  # too near to 1.9
        assert np.array_equal(outcome.correct[f"{variant}-1/correct"].numpy()[clear], away[clear] > reach)


def test_step_sizes_are_a_setting() -> None:
    """As above: 4.3 levels for 0.02."""
    data = margins()
    away = distances(data)
    clear = away != 4  # too near
    outcome = measure(PGD(), Nearest(TWO), data, steps=[1], restarts=1, step_sizes={"pgd-std": 0.02})
    assert {score.setting["variant"] for score in outcome.scores} == {"pgd-std"}
    assert np.array_equal(outcome.correct["pgd-std-1/correct"].numpy()[clear], away[clear] > 4.3)


@pytest.mark.parametrize(("eps", "title"), [(0.031, ".031"), (2 / 255, "2/255"), (0.00784313725490196, "2/255")])
def test_the_headline_names_the_budget(eps: float, title: str) -> None:
    headline = PGD().headline(PGD().resolve({"eps": eps}))
    assert headline.title == f"PGD-20 ε {title}"
    assert Transfer().headline(Transfer().resolve({"eps": eps})).title == f"transfer ε {title}"
    assert headline.setting == {"variant": "pgd-std", "steps": 20, "rule": "worst"}


def test_every_score_is_there_once_with_all_that_tells_it_apart(mixed: TaskResult) -> None:
    accuracies = itertools.product(
        ("robust_accuracy", "conditional_accuracy"),
        ("pgd-std", "pgd-arani"),
        (1, 3),
        ("worst", "any", "min-run", "mean"),
    )
    budget = {
        variant: {"variant": variant, "eps": EPS, "step_size": size, "restarts": 3, "start": "uniform", "seed": 0}
        for variant, size in (("pgd-std", 2 / 255), ("pgd-arani", 0.03))
    }
    wanted: list[tuple[str, dict[str, Any]]] = [
        (metric, {**budget[variant], "steps": k, "rule": rule}) for metric, variant, k, rule in accuracies
    ]
    for how in budget.values():
        wanted += [("zero_gradient_share", {**how, "steps": step}) for step in (1, 2, 3)]
        curve = itertools.product(range(4), ("last", "any"))
        wanted += [("accuracy_at_step", {**how, "steps": k, "rule": rule, "restarts": 1}) for k, rule in curve]
    found = [(score.metric, score.setting) for score in mixed.scores]
    assert len(found) == len(wanted) == 32 + 6 + 16
    assert all(entry in found for entry in wanted)
    assert {score.metric for score in mixed.scores if not score.higher_is_better} == {"zero_gradient_share"}
    assert {score.task for score in mixed.scores} == {"pgd"}


def test_rules_are_ordered_and_the_attack_was_neither_void_nor_total(mixed: TaskResult) -> None:
    for metric, variant, k in itertools.product(
        ("robust_accuracy", "conditional_accuracy"), ("pgd-std", "pgd-arani"), (1, 3)
    ):
        by_rule = {score.setting["rule"]: score for score in select(mixed, metric, variant=variant, steps=k)}
        assert by_rule["any"].value <= by_rule["worst"].value <= by_rule["min-run"].value <= by_rule["mean"].value
        assert len({score.n for score in by_rule.values()}) == 1
    values = {
        rule: [score.value for score in select(mixed, "robust_accuracy", rule=rule)]
        for rule in ("any", "worst", "min-run", "mean")
    }
    assert 0 < min(values["worst"]) < max(values["worst"]) < 0.8
    for lower, upper in itertools.pairwise(values):
        assert values[lower] != values[upper], "the rules must differ to tell them apart"


def test_worst_and_conditional_follow_from_what_is_kept(mixed: TaskResult) -> None:
    model, data = random_net()
    with torch.no_grad():
        right = model(data.test.images.float() / 255).argmax(1).eq(data.test.labels).numpy()
    assert right.sum() == 80
    for variant, k in itertools.product(("pgd-std", "pgd-arani"), (1, 3)):
        kept = mixed.correct[f"{variant}-{k}/correct"].numpy()
        setting = {"variant": variant, "steps": k, "rule": "worst"}
        assert_share(one(mixed, "robust_accuracy", **setting), kept.sum(), 100)
        assert_share(one(mixed, "conditional_accuracy", **setting), kept[right].sum(), 80)


def test_with_one_restart_all_rules_on_the_last_iterate_agree() -> None:
    model, data = random_net()
    outcome = measure(PGD(), model, data, steps=[3], restarts=1)
    for variant in ("pgd-std", "pgd-arani"):
        values = {
            one(outcome, "robust_accuracy", variant=variant, rule=rule).value for rule in ("worst", "min-run", "mean")
        }
        assert len(values) == 1


def test_more_restarts_never_raise_the_worst_case_and_keep_the_first_draws(mixed: TaskResult) -> None:
    model, data = random_net()
    fewer = measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=1)
    for name, kept in mixed.correct.items():
        if name != "index":
            assert not (kept & ~fewer.correct[name]).any()
    assert any(not torch.equal(kept, fewer.correct[name]) for name, kept in mixed.correct.items())


def test_the_attack_is_the_same_every_time_and_depends_on_its_seed(mixed: TaskResult) -> None:
    model, data = random_net()
    again = measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=3)
    assert again.scores == mixed.scores
    other = measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=3, seed=1)
    assert other.scores != mixed.scores


def test_radius_zero_is_clean_accuracy_whatever_the_rule() -> None:
    model, data = random_net()
    outcome = measure(PGD(), model, data, eps=0, steps=[2], restarts=2)
    for score in select(outcome, "robust_accuracy"):
        assert_share(score, 80, 100)
    for score in select(outcome, "conditional_accuracy"):
        assert_share(score, 80, 80)


def test_runs_over_a_part_count_that_part_and_the_worst_case_counts_all(mixed: TaskResult) -> None:
    model, data = random_net()
    outcome = measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=3, every_restart=12)
    for rule, n in (("worst", 100), ("any", 100), ("min-run", 12), ("mean", 12)):
        assert {score.n for score in select(outcome, "robust_accuracy", rule=rule)} == {n}
    assert all(score.n <= 12 for score in select(outcome, "conditional_accuracy", rule="mean"))
    for setting in ({"rule": "worst", "steps": 3}, {"rule": "worst", "steps": 1}):
        assert select(outcome, "robust_accuracy", **setting) == select(mixed, "robust_accuracy", **setting)


def test_a_subset_is_attacked_alone() -> None:
    model, data = random_net()
    outcome = measure(PGD(), model, data, steps=[1], restarts=1, subset=12)
    assert {score.n for score in select(outcome, "robust_accuracy")} == {12}
    index = outcome.correct["index"]
    assert len(index) == len(outcome.correct["pgd-std-1/correct"]) == 12
    with torch.no_grad():
        right = model(data.test.images.float() / 255).argmax(1).eq(data.test.labels)
    assert {score.n for score in select(outcome, "conditional_accuracy")} == {int(right[index].sum())}
    assert set(outcome.subsets) == {"pgd"}


def test_no_conditional_accuracy_where_nothing_was_right() -> None:
    data = TestData(image_set(flat([110, 112, 114]), [1, 1, 1], classes=2))
    outcome = measure(PGD(), Nearest(TWO), data, steps=[10], restarts=1)
    assert not select(outcome, "conditional_accuracy")
    assert {score.value for score in select(outcome, "robust_accuracy")} == {0.0}


class Masked(nn.Module):
    """The same answer whatever the image; the gradient is there and zero."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([2.0, 0.0]) + 0 * images.mean((1, 2, 3))[:, None]


class Half(Nearest):
    """No gradient for the images of the first class."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return torch.where(images[:, 0, 0, 0, None] < 125 / 255, logits.detach() + 0 * logits, logits)


class Cut(Nearest):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.detach())


def test_a_masked_gradient_is_reported() -> None:
    outcome = measure(PGD(), Masked(), margins(), steps=[2], restarts=2)
    for variant in ("pgd-std", "pgd-arani"):
        for step in (1, 2):  # in both restarts, which are no new examples
            assert_share(one(outcome, "zero_gradient_share", variant=variant, steps=step), 18, 18)
    failed = {check.name for check in outcome.checks if not check.passed}
    assert failed == {"zero_gradients", "large_eps"}
    assert {score.value for score in select(outcome, "robust_accuracy")} == {0.5}


def test_a_saturated_softmax_is_reported_as_a_masked_gradient() -> None:
    outcome = measure(PGD(), Nearest(TWO, sharpness=1e6), margins(), steps=[2], restarts=1)
    assert one(outcome, "zero_gradient_share", variant="pgd-std", steps=2).value >= 14 / 18


def test_a_gradient_masked_for_half_of_the_images_is_half_a_share() -> None:
    data = TestData(image_set(flat([60] * 5 + [200] * 5), [0] * 5 + [1] * 5, classes=2))
    outcome = measure(PGD(), Half(TWO), data, steps=[2], restarts=2)
    for step in (1, 2):
        score = one(outcome, "zero_gradient_share", variant="pgd-std", steps=step)
        assert_share(score, 5, 10)


def test_a_detached_gradient_is_an_error() -> None:
    with pytest.raises(KdbenchError, match="no gradient to the input"):
        measure(PGD(), Cut(TWO), margins(), steps=[2], restarts=1)


def test_repeated_step_counts_are_reported_once() -> None:
    outcome = measure(PGD(), Nearest(TWO), margins(), steps=[2, 2], restarts=1)
    settings = [(score.metric, *sorted(score.setting.items())) for score in outcome.scores]
    assert len(settings) == len(set(settings))


def test_curves_begin_at_the_start_and_end_at_the_last_step(mixed: TaskResult) -> None:
    model, data = random_net()
    single = measure(PGD(), model, data, eps=EPS, steps=[1, 3], restarts=1)
    for variant in ("pgd-std", "pgd-arani"):
        for k in (1, 3):
            last = one(mixed, "accuracy_at_step", variant=variant, steps=k, rule="last")
            assert last.value == one(single, "robust_accuracy", variant=variant, steps=k, rule="worst").value
            standing = one(mixed, "accuracy_at_step", variant=variant, steps=k, rule="any")
            assert standing.value == one(single, "robust_accuracy", variant=variant, steps=k, rule="any").value
        curve = [one(mixed, "accuracy_at_step", variant=variant, steps=k, rule="any").value for k in range(4)]
        assert curve == sorted(curve, reverse=True)


def test_an_honest_network_passes_every_check(mixed: TaskResult) -> None:
    assert {(check.name, check.setting.get("variant")) for check in mixed.checks} == {
        ("random_model", None), ("large_eps", None),
        ("more_steps", "pgd-std"), ("more_steps", "pgd-arani"),
        ("zero_gradients", "pgd-std"), ("zero_gradients", "pgd-arani"),
    }  # fmt: skip
    assert all(check.passed for check in mixed.checks)
    assert not any(check.concerns(score) for check in mixed.checks for score in mixed.scores)


def test_a_failed_check_flags_the_scores_of_its_variant() -> None:
    outcome = measure(PGD(), Masked(), margins(), steps=[2], restarts=2)
    [vanished] = [c for c in outcome.checks if c.name == "zero_gradients" and c.setting["variant"] == "pgd-std"]
    assert (vanished.value, vanished.limit, vanished.n) == (1.0, 0.01, 18)
    flagged = [score for score in outcome.scores if vanished.concerns(score)]
    assert {score.setting["variant"] for score in flagged} == {"pgd-std"}
    assert len(flagged) == len(outcome.scores) / 2


def test_images_regained_by_more_steps_are_noticed() -> None:
    """Thirty of a hundred come back between k = 1 and k = 2, five are lost: far more than chance."""
    few, many = torch.zeros(100, dtype=torch.bool), torch.zeros(100, dtype=torch.bool)
    few[:5], many[5:35] = True, True
    empty = torch.zeros(2, dtype=torch.long)
    ctx = EvaluationContext("clean", torch.device("cpu"), None, task="pgd")
    result = PGDResult(few, {1: few, 2: many}, {}, {}, empty, few[None], empty, empty)
    check_steps(result, "pgd-std", ctx)
    check_steps(dataclasses.replace(result, robust={1: many, 2: few}), "pgd-std", ctx)
    noticed, usual = ctx.checks
    assert (noticed.passed, noticed.value) == (False, 0.25)
    assert noticed.limit == pytest.approx(1.96 * 35**0.5 / 100)
    assert usual.passed


class Noisy(Nearest):
    """A border that moves by up to 40 levels from one call to the next; twenty calls know where it is."""

    def forward(self, images: Tensor) -> Tensor:
        shift = (torch.rand(len(images), 1) - 0.5) * 40 / 255
        return self.sharpness * torch.cat([-(images.mean((1, 2, 3))[:, None] - 125 / 255 + shift), 0 * shift], dim=1)


def test_a_random_network_is_attacked_through_averages_and_judged_by_votes() -> None:
    data = TestData(image_set(torch.full((40, 3, 32, 32), 108, dtype=torch.uint8), [0] * 40, classes=2))
    outcome = measure(PGD(), Noisy(TWO), data, steps=[10], restarts=1, votes=201, gradient_draws=9)
    [check] = [check for check in outcome.checks if check.name == "random_model"]
    assert (check.value, check.setting) == (1.0, {"gradient_draws": 9, "votes": 201})
    accuracy = one(outcome, "robust_accuracy", variant="pgd-std", steps=10, rule="worst")
    assert (accuracy.setting["gradient_draws"], accuracy.setting["votes"]) == (9, 201)
    # At 108 + 7.9 levels one call is wrong for a quarter of the shifts; the vote of many stays right.
    assert accuracy.value == 1.0
    single = one(outcome, "accuracy_at_step", variant="pgd-std", steps=10, rule="last")
    assert 0.4 < single.value < 0.95


@pytest.mark.parametrize(
    "setting",
    [
        {"gradient_draws": 4},
        {"votes": 0},
        {"steps": [0]},
        {"eps": 1.2},
        {"restarts": 0},
        {"step_sizes": {"own": 0.1}},
        {"step_sizes": {"pgd-std": 0}},
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(KdbenchError, match=next(iter(setting))):
        PGD().resolve(setting)
