"""Clean, noisy_label, ood and calibration."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError
from kdbench.results.record import Score
from kdbench.tasks import EvaluationContext, Task, TestData, builtin_tasks
from kdbench.tasks.calibration import Calibration
from kdbench.tasks.clean import Clean
from kdbench.tasks.noisy_label import NoisyLabel
from kdbench.tasks.ood import OutOfDistribution
from kdbench.tasks.scorecard import Scorecard
from tests.tasks.helpers import (
    CLEAN,
    CPU,
    NOISY,
    Nearest,
    assert_share,
    measure,
    nearest_is_right,
    one,
    ten_classes,
)


def test_which_condition_each_task_applies_to() -> None:
    found = {task.name: (task.applies(CLEAN), task.applies(NOISY)) for task in builtin_tasks()}
    both = (True, True)
    assert found == {
        "clean": (True, False), "noisy_label": (False, True), "ood": both, "pgd": both, "corruption": both,
        "calibration": both, "transfer": both,
    }  # fmt: skip


def test_which_tasks_need_more_than_a_model() -> None:
    tasks = {task.name: task for task in builtin_tasks()}
    assert all(None not in (task.lower_is_better, task.setting_keys, task.other_metrics) for task in tasks.values())
    assert [name for name, task in tasks.items() if task.needs_training] == ["noisy_label"]
    assert {name: tuple(task.sources(task.resolve({}))) for name, task in tasks.items() if name != "transfer"} == (
        dict.fromkeys(set(tasks) - {"transfer"}, ())
    )


@pytest.mark.parametrize(("task", "condition"), [(Clean(), "clean"), (NoisyLabel(), "sym-40")])
def test_accuracy_counts_right_answers_over_all_images(task: Task, condition: str) -> None:
    data = ten_classes(count=60, wrong=17)
    right = nearest_is_right(data.test)
    assert right.sum() == 43
    outcome = measure(task, Nearest(), data, condition=condition)
    [score] = outcome.scores
    assert (score.task, score.metric, score.condition, score.setting) == (task.name, "accuracy", condition, {})
    assert score.higher_is_better
    assert score.unit == "fraction"
    assert_share(score, 43, 60)
    assert np.array_equal(outcome.correct["correct"].numpy(), right)
    assert np.array_equal(outcome.correct["label"].numpy(), data.test.labels.numpy())
    assert outcome.subsets == {}


@pytest.mark.parametrize(
    ("task", "condition"), [(Clean(), "clean"), (NoisyLabel(), "sym-40"), (OutOfDistribution(), "clean")]
)
def test_what_images_were_taken_for_is_held_against_what_was_right(task: Task, condition: str) -> None:
    data = ten_classes(count=60, wrong=17)
    data = dataclasses.replace(data, ood=data.test)
    outcome = measure(task, Nearest(), data, condition=condition)
    results = {f"{task.name}/{name}": array.numpy() for name, array in outcome.correct.items()}
    [answer] = [name for name in results if name.endswith("answer")]

    def objections() -> list[str]:
        return [one.message for one in task.audit(Scorecard(task.name, None, tuple(outcome.scores), (), results, ()))]

    assert objections() == []
    results[answer] = np.roll(results[answer], 1)
    assert objections() == [f"task '{task.name}': the classes answered are not those that it counts as right"]
    results[answer] = results[answer][:5]
    assert len(objections()) == 1


@pytest.mark.parametrize("wrong", [0, 60])
def test_accuracy_at_the_ends_has_an_interval_inside_the_unit(wrong: int) -> None:
    [score] = measure(Clean(), Nearest(), ten_classes(count=60, wrong=wrong)).scores
    assert_share(score, 60 - wrong, 60)
    assert 0 <= score.ci_low < score.ci_high <= 1


def test_ood_is_scored_on_its_own_set_under_its_own_name_with_three_classes_missing() -> None:
    present = [0, 1, 3, 4, 6, 8, 9]
    away = ten_classes(count=35, wrong=10, name="far-away", present=present).test
    assert set(away.labels.tolist()) == set(present)
    data = dataclasses.replace(ten_classes(count=60, wrong=17), ood=away)
    outcome = measure(OutOfDistribution(), Nearest(), data)
    [score] = outcome.scores
    assert (score.task, score.metric, score.setting) == ("ood", "accuracy", {"dataset": "far-away"})
    assert_share(score, 25, 35)
    assert np.array_equal(outcome.correct["far-away/correct"].numpy(), nearest_is_right(away))


def test_ood_counts_a_prediction_of_an_absent_class_as_wrong() -> None:
    away = ten_classes(count=14, wrong=0, name="far-away", present=[0, 1]).test
    always_nine = Nearest([255 * 9] * 9 + [100])
    data = dataclasses.replace(ten_classes(), ood=away)
    assert one(measure(OutOfDistribution(), always_nine, data), "accuracy").value == 0


def test_ood_without_a_set_is_an_error() -> None:
    with pytest.raises(KdbenchError, match="no out-of-distribution set"):
        measure(OutOfDistribution(), Nearest(), ten_classes())


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Sum over bins (m/M, (m+1)/M] of share x |accuracy - confidence|, image by image."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_calibration_error_of_each_number_of_bins() -> None:
    data = ten_classes(count=60, wrong=17)
    model = Nearest(sharpness=40.0)
    seen = data.test.images.numpy()[:, 0, 0, 0] / 255
    centres = model.levels.detach().numpy()
    logits = 40.0 * (2 * seen[:, None] * centres - centres**2)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    outcome = measure(Calibration(), model, data, bins=[15, 10])
    assert [(score.metric, score.setting, score.n) for score in outcome.scores] == [
        ("ece", {"bins": 15}, 60), ("ece", {"bins": 10}, 60),
    ]  # fmt: skip
    for score in outcome.scores:
        wanted = expected_calibration_error(softmax, data.test.labels.numpy(), int(score.setting["bins"]))
        assert wanted > 0.05
        assert score.value == pytest.approx(wanted, abs=1e-5)
        assert score.ci_low < score.value < score.ci_high
        assert not score.higher_is_better
    assert outcome.scores[0].value != outcome.scores[1].value
    assert np.allclose(outcome.correct["confidence"].numpy(), softmax.max(1), atol=1e-5)


def test_fifteen_bins_are_the_default() -> None:
    assert [score.setting for score in measure(Calibration(), Nearest(), ten_classes()).scores] == [{"bins": 15}]


class Broken(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 10), torch.nan)


@pytest.mark.parametrize("task", [Clean(), NoisyLabel(), OutOfDistribution(), Calibration()])
def test_logits_that_are_no_numbers_are_an_error_and_not_an_accuracy(task: Task) -> None:
    data = dataclasses.replace(ten_classes(), ood=ten_classes(name="far-away").test)
    with pytest.raises(KdbenchError, match="finite|nan"):
        measure(task, Broken(), data)


def test_logits_are_computed_once_for_all_tasks_and_apart_for_each_set() -> None:
    model = Nearest()
    data = dataclasses.replace(ten_classes(), ood=ten_classes(count=35, wrong=1, name="far-away").test)
    ctx = EvaluationContext("clean", CPU, None)
    first = ctx.logits(model, data.test)
    calls = model.calls
    assert torch.equal(dataclasses.replace(ctx, task="other").logits(model, data.test), first)
    assert model.calls == calls
    assert data.ood is not None
    assert len(ctx.logits(model, data.ood)) == 35
    other = Nearest(tuple(reversed(range(12, 250, 25))))
    assert not torch.equal(ctx.logits(other, data.test), first)


def test_a_score_that_cannot_be_is_refused() -> None:
    ctx = EvaluationContext("clean", CPU, None, task="mine")
    assert isinstance(ctx.score("m", 3.0, 1, (2.0, 4.0), unit="seconds"), Score)
    for value, interval in ((float("nan"), (0.0, 1.0)), (1.5, (0.0, 1.0)), (0.5, (0.6, 0.4))):
        with pytest.raises(ValueError, match="validation error"):
            ctx.score("m", value, 1, interval)


def test_data_without_more_has_neither_ood_nor_published_corruptions() -> None:
    data = TestData(ten_classes().test)
    assert data.ood is None
    assert data.published_corruptions is None
