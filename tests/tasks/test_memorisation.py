from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdbench.augment import auto_augment, random_erasing
from kdbench.data import DataPlace, load_dataset
from kdbench.errors import KdbenchError
from kdbench.metrics import wilson_interval
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.running.train_set import train_set, training_labels
from kdbench.tasks import EvaluationContext
from kdbench.tasks.context import TrainingLabels
from kdbench.tasks.memorisation import GROUPS, Memorisation, recall, view_probabilities
from kdbench.tasks.scorecard import Scorecard
from tests.tasks.helpers import CLEAN, CPU, NOISY, assert_share, one, select, ten_classes


def test_overall_accuracy_is_that_of_both_groups_by_their_share() -> None:
    generator = torch.Generator().manual_seed(0)
    true, predicted = (torch.randint(5, (300,), generator=generator) for _ in range(2))
    observed = torch.where(
        torch.rand(300, generator=generator) < 0.5, torch.randint(5, (300,), generator=generator), true
    )
    clean, mislabelled, everything = recall(predicted, observed, true, views=0)
    assert [one.group for one in (clean, mislabelled, everything)] == list(GROUPS)
    share = float((observed != true).double().mean())  # draws that kept the label are not among them
    assert everything.accuracy == pytest.approx(share * mislabelled.accuracy + (1 - share) * clean.accuracy)
    assert mislabelled.n == int((observed != true).sum())
    assert everything.interval == wilson_interval(everything.hits, 300)
    nothing = recall(predicted, true, true, views=0)[1]
    assert nothing.n == 0
    assert math.isnan(nothing.accuracy)
    assert all(math.isnan(end) for end in nothing.interval)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 10)
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(self.layer.weight, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def test_views_are_averaged_as_softmax_outputs_in_the_order_of_their_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 3, 32, 32), generator=generator, dtype=torch.uint8)
    model = Linear()
    found = view_probabilities(model, images, [1, 3], torch.Generator().manual_seed(7), CPU)
    assert set(found) == {0, 1, 3}
    pixels = images.float() / 255
    with torch.no_grad():
        torch.testing.assert_close(found[0], model(pixels).double().softmax(1))
        draws = torch.Generator().manual_seed(7)
        total = torch.zeros(12, 10, dtype=torch.float64)
        for number in (1, 2, 3):
            total += model(random_erasing(auto_augment(pixels, draws), draws)).double().softmax(1)
            if number in found:
                torch.testing.assert_close(found[number], total / number)


class Remembers(nn.Module):
    """Knows 40 images by the level of their red channel, and answers with their label and some doubt; all else is
    class 0."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, images: Tensor) -> Tensor:
        level = (255 * images[:, 0].mean((1, 2))).round().long()
        same = (255 * images[:, 0]).std((1, 2)) < 1e-3
        answer = torch.where(same & (level < 40), self.labels[level.clamp(0, 39)], torch.zeros_like(level))
        return 3.0 * nn.functional.one_hot(answer, 4).float()


def forty() -> TrainingLabels:
    """Ten images of each of four classes, the first ten with the next class for a label."""
    true = torch.arange(40) % 4
    observed = torch.where(torch.arange(40) < 10, (true + 1) % 4, true)
    images = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 3, 32, 32).contiguous()
    return TrainingLabels(images, observed, true)


def measured(training: TrainingLabels, predictor: nn.Module, **settings: object) -> TaskResult:
    ctx = EvaluationContext("sym-40", CPU, None, training=lambda: training)
    task = Memorisation()
    return run_task(task, task.resolve(settings), predictor, ten_classes(), ctx)


@pytest.fixture(scope="module")
def outcome() -> TaskResult:
    return measured(forty(), Remembers(forty().observed), views=[2], loss_bins=4, bins=10)


def test_a_student_that_remembers_its_labels_is_wrong_where_they_are(outcome: TaskResult) -> None:
    assert one(outcome, "observed_accuracy").value == 1
    right = {str(score.setting["images"]): score for score in select(outcome, "accuracy", views=0)}
    assert {name: (score.value, score.n) for name, score in right.items()} == {
        "clean-labelled": (1, 30), "mislabelled": (0, 10), "all": (0.75, 40),
    }  # fmt: skip
    assert right["all"].value == pytest.approx(0.25 * right["mislabelled"].value + 0.75 * right["clean-labelled"].value)
    for score in [*select(outcome, "accuracy"), one(outcome, "observed_accuracy")]:
        kept = outcome.correct[str(Memorisation().results_key(score))]
        assert_share(score, int(kept.sum()), len(kept))
        assert score.setting["seed"] == 0


def test_views_are_judged_by_their_mean_softmax_output(outcome: TaskResult) -> None:
    training = forty()
    generator = torch.Generator().manual_seed(0)
    pixels, total = training.images.float() / 255, torch.zeros(40, 4, dtype=torch.float64)
    for _ in range(2):
        views = random_erasing(auto_augment(pixels, generator), generator)
        total += Remembers(training.observed)(views).double().softmax(1)
    right = (total / 2).argmax(1) == training.true
    assert 0 < int(right[:10].sum()) < 10
    assert one(outcome, "accuracy", views=2, images="mislabelled").value == pytest.approx(right[:10].double().mean())
    assert one(outcome, "accuracy", views=2, images="all").value == pytest.approx(right.double().mean())


def test_calibration_is_that_of_the_true_labels(outcome: TaskResult) -> None:
    """Every image is answered with one confidence, and three quarters are right."""
    confidence = math.exp(3) / (math.exp(3) + 3)
    assert one(outcome, "ece", views=0).value == pytest.approx(abs(confidence - 0.75))


def test_losses_of_mislabelled_images_and_how_well_views_lower_them(outcome: TaskResult) -> None:
    """Unseen, a wrong answer with logit 3 costs log(e^3 + 3) nats."""
    assert 3 < math.log(math.exp(3) + 3) < 4
    filled = {score.setting["low"]: score for score in select(outcome, "loss_share", views=0) if score.value}
    assert list(filled) == [3]
    assert (filled[3].value, filled[3].n, filled[3].setting["open"]) == (1, 10, True)
    assert sum(score.value for score in select(outcome, "loss_share", views=2)) == pytest.approx(1)
    area = one(outcome, "auroc", views=2)
    lower = [score.value for score in select(outcome, "loss_share", views=2) if int(score.setting["low"]) < 3]
    assert area.n == 10
    assert area.value >= sum(lower)
    assert not select(outcome, "auroc", views=0)


def test_the_first_images_of_the_shuffled_set_are_a_part() -> None:
    training = forty()
    outcome = measured(training, Remembers(training.observed), views=[1], images=12)
    assert (one(outcome, "observed_accuracy").n, one(outcome, "accuracy", views=0, images="mislabelled").n) == (12, 10)


def test_without_wrong_labels_there_is_nothing_to_correct() -> None:
    training = forty()
    clean = TrainingLabels(training.images, training.true, training.true)
    outcome = measured(clean, Remembers(training.true), views=[1], images=4)
    assert {score.setting.get("images") for score in outcome.scores} == {"clean-labelled", "all"}
    assert not select(outcome, "auroc")


def test_groups_that_do_not_add_up_are_found(outcome: TaskResult) -> None:
    def objections(scores: list[Score]) -> list[str]:
        card = Scorecard("memorisation", Memorisation.Settings(views=(2,)), tuple(scores), (), {}, ())
        return [found.message for found in Memorisation().audit(card)]

    assert objections(outcome.scores) == []
    all_of = one(outcome, "accuracy", views=0, images="all")
    [found] = objections([one.model_copy(update={"value": 0.8}) if one is all_of else one for one in outcome.scores])
    assert "its groups give 0.75" in found


def test_it_is_for_noisy_labels_and_students_that_were_trained_here() -> None:
    task = Memorisation()
    assert task.applies(NOISY)
    assert not task.applies(CLEAN)
    with pytest.raises(KdbenchError, match="not trained here"):
        run_task(task, task.resolve({}), nn.Identity(), ten_classes(), EvaluationContext("sym-40", CPU, None))


def test_training_labels_are_those_of_the_training_and_the_true_ones(tmp_path: Path) -> None:
    plugins, place = load_plugins(), DataPlace(None, tmp_path)
    digits, noises = load_dataset(plugins.datasets.get("digits"), place), plugins.label_noises
    found = training_labels(digits, NOISY, noises, tmp_path, place)
    train, facts = train_set(digits, NOISY, noises, tmp_path, place)
    assert facts is not None
    assert found.images.equal(train.images)
    assert found.observed.equal(train.labels)
    assert float((found.observed != found.true).double().mean()) == pytest.approx(facts.realised)
