"""Out-of-distribution detection by the outputs of a network that can be worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from kdbench.data import CIFAR10_CLASSES, DataFacts
from kdbench.errors import KdbenchError
from kdbench.metrics import auroc_interval
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Score
from kdbench.specs import TaskPlan
from kdbench.suites import load_suite
from kdbench.tasks import OutOfDistributionDetection, TestData, builtin_tasks
from kdbench.tasks.scorecard import Objection, Scorecard
from tests.tasks.helpers import LEVELS, Nearest, flat, image_set, measure, one, ten_classes

TASK = OutOfDistributionDetection()
SETS = {"near": ("dim",), "far": ("bright",)}


def made() -> TestData:
    """Test images at the levels of their classes; others between two levels, or brighter than all."""
    random = np.random.default_rng(7)
    between = [int(level) for level in random.choice(LEVELS, 40) + random.integers(5, 20, 40)]
    bright = [int(level) for level in random.integers(150, 256, 30)]
    outside = {
        "dim": image_set(flat(between, seed=1), [number % 3 for number in range(40)], classes=3, name="dim"),
        "bright": image_set(flat(bright, seed=2), [0] * 30, classes=1, name="bright"),
    }
    return dataclasses.replace(ten_classes(count=60), outside=outside)


def logits(images: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = Nearest()(images.float() / 255).double().numpy()
    return found


BY_HAND = {
    "max_softmax": lambda z: log_softmax(z, axis=1).max(1),
    "max_logit": lambda z: z.max(1),
    "energy": lambda z: logsumexp(z, axis=1),
}


def test_scores_are_scikit_learns_on_the_networks_outputs() -> None:
    data = made()
    outcome = measure(TASK, Nearest(), data, **SETS)
    assert len(outcome.scores) == 2 * 3 * 2
    for name, shift, count in (("dim", "near", 40), ("bright", "far", 30)):
        for score, by_hand in BY_HAND.items():
            inside, outside = by_hand(logits(data.test.images)), by_hand(logits(data.outside[name].images))
            truth, values = np.r_[np.ones(60), np.zeros(count)], np.r_[inside, outside].astype(np.float32)
            area = one(outcome, "auroc", dataset=name, score=score)
            assert area.value == pytest.approx(roc_auc_score(truth, values), abs=1e-3)  # of ties that rounding breaks
            false, true, _ = roc_curve(truth, values, drop_intermediate=False)
            rate = one(outcome, "fpr95", dataset=name, score=score)
            assert rate.value == pytest.approx(false[true >= 0.95][0], abs=0.04)
            assert area.setting == rate.setting == {"dataset": name, "shift": shift, "score": score}
            assert (area.n, area.higher_is_better, rate.n, rate.higher_is_better) == (
                60 + count,
                True,
                60 + count,
                False,
            )
            assert area.ci_low <= area.value <= area.ci_high and rate.ci_low <= rate.value <= rate.ci_high
            assert np.allclose(outcome.correct[f"{name}/{score}"], outside, atol=1e-4)
            assert np.allclose(outcome.correct[f"in-distribution/{score}"], inside, atol=1e-4)
    assert len({score.value for score in outcome.scores}) > 4, "scores must differ to tell them apart"


def test_a_suite_that_names_no_sets_gets_those_of_its_data() -> None:
    suites = {name: TASK.settings_in(load_suite(name)) for name in ("cifar10", "digits", "nrd-cifar100")}
    assert [tuple(TASK.outside(settings)) for settings in suites.values()] == [
        ("cifar100", "digits"),
        ("digits-fonts",),
        ("cifar10", "digits"),
    ]
    suite = load_suite("cifar10")
    planned = suite.model_copy(update={"tasks": {TASK.name: TaskPlan(settings={"far": ("digits",)})}})
    assert tuple(TASK.outside(TASK.settings_in(planned))) == ("digits",)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "knows no data sets to tell from 'cifar10'"),
        ({"near": ["cifar10"]}, "to tell 'cifar10' from itself"),
        ({"near": ["digits"], "far": ["digits"]}, "names data set 'digits' twice"),
    ],
)
def test_sets_that_mean_nothing_are_told_before_a_run(sets: dict[str, list[str]], message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        TASK.check_data(TASK.resolve(sets), DataFacts("cifar10", CIFAR10_CLASSES, 32))
    assert caught.value.hint


def test_no_suite_plans_it() -> None:
    assert TASK.name in load_plugins().tasks
    assert TASK.name not in {task.name for task in builtin_tasks()}
    for name in load_plugins().suites:
        assert TASK.name not in load_suite(name).tasks


def test_its_headline_is_one_of_its_scores() -> None:
    outcome = measure(TASK, Nearest(), made(), **SETS)
    headline = TASK.headline(TASK.resolve(SETS))
    assert headline is not None
    [score] = [score for score in outcome.scores if headline.picks(score)]
    assert (score.metric, score.setting["dataset"], score.setting["score"]) == ("auroc", "dim", "max_softmax")
    assert TASK.headline(TASK.resolve({})) is None


class Hesitant(Nearest):
    """Answers with noise of its own at every pass."""

    def forward(self, images: Tensor) -> Tensor:
        found = super().forward(images)
        return found + torch.randn_like(found)


def test_a_random_predictor_is_measured_in_several_draws() -> None:
    outcome = measure(TASK, Hesitant(), made(), near=("dim",))
    assert {score.setting["draws"] for score in outcome.scores} == {5}
    area = one(outcome, "auroc", score="max_logit")
    kept = (outcome.correct[f"{kind}/max_logit"] for kind in ("in-distribution", "dim"))
    low, high = auroc_interval(*kept)
    assert area.ci_low < low < area.value < high < area.ci_high
    assert not objections(outcome.scores, outcome.correct)


def objections(scores: list[Score], kept: dict[str, Tensor]) -> list[Objection]:
    results = {f"{TASK.name}/{name}": values.numpy() for name, values in kept.items()}
    return list(TASK.audit(Scorecard(TASK.name, TASK.resolve(SETS), tuple(scores), (), results, ())))


def test_a_record_whose_scores_its_results_do_not_give_is_objected_to() -> None:
    outcome = measure(TASK, Nearest(), made(), **SETS)
    assert not objections(outcome.scores, outcome.correct)
    for change, field in (({"value": 0.9991, "ci_high": 1.0}, "value"), ({"ci_low": 0.0}, "ci_low"), ({"n": 61}, "n")):
        first, *rest = outcome.scores
        found = objections([first.model_copy(update=change), *rest], outcome.correct)
        assert field in [objection.field for objection in found]
        assert {objection.subject.metric for objection in found if objection.subject} == {"auroc"}
    broken = {**outcome.correct, "dim/max_logit": torch.full((40,), float("nan"))}
    assert {objection.message for objection in objections(outcome.scores, broken)} == {
        "per-example results: scores of out-of-distribution images are NaN"
    }
