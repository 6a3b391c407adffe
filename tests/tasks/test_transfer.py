from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.tasks import TestData
from kdbench.tasks.transfer import Transfer
from tests.tasks.helpers import Nearest, TinyNet, assert_share, flat, image_set, measure, one, select
from tests.tasks.test_pgd import TWO, distances, margins, random_net


def attacked(source: nn.Module, images: Tensor, labels: Tensor, *, eps: float, step: float, steps: int) -> Tensor:
    """From the image itself; per image the first iterate with the highest cross-entropy."""
    origin = images.float() / 255
    point, best = origin, origin
    worst = torch.full((len(labels),), -1.0)
    for number in range(steps + 1):
        leaf = point.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(source(leaf), labels, reduction="none")
        better = loss.detach() > worst
        worst = torch.where(better, loss.detach(), worst)
        best = torch.where(better[:, None, None, None], point, best)
        if number < steps:
            [gradient] = torch.autograd.grad(loss.sum(), leaf)
            point = (point + step * gradient.sign()).clamp(origin - eps, origin + eps).clamp(0, 1)
    return best


def right(model: nn.Module, pixels: Tensor, labels: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model(pixels).argmax(1).eq(labels).numpy()
    return found


def test_each_source_and_the_white_box_diagonal_agree_with_an_attack_written_out() -> None:
    model, data = random_net()
    networks = {"teacher": TinyNet(4, seed=3), "reference": TinyNet(4, seed=11)}
    with torch.no_grad():
        networks["teacher"].first.add_(torch.randn(12, 32, generator=torch.Generator().manual_seed(0)), alpha=0.3)
    outcome = measure(Transfer(), model, data, networks=networks, eps=0.02, step_size=0.006, steps=4)
    images, labels = data.test.images, data.test.labels
    clean = right(model, images.float() / 255, labels)
    expected = {}
    for role, source in {**networks, "self": model}.items():
        examples = attacked(source, images, labels, eps=0.02, step=0.006, steps=4)
        expected[role] = right(model, examples, labels)
        assert np.array_equal(outcome.correct[f"{role}/correct"].numpy(), expected[role])
        assert_share(one(outcome, "accuracy", source=role), expected[role].sum(), 100)
        assert_share(one(outcome, "conditional_accuracy", source=role), expected[role][clean].sum(), clean.sum())
    assert len(outcome.scores) == 6
    budget = {"eps": 0.02, "step_size": 0.006, "steps": 4, "restarts": 1, "start": "zero", "iterate": "best"}
    assert [score.setting for score in outcome.scores] == [
        {"source": role, **budget} for role in ("teacher", "reference", "self") for _ in range(2)
    ]
    counts = {role: int(found.sum()) for role, found in expected.items()}
    assert counts["self"] < counts["teacher"] < counts["reference"], "the sources must differ to tell them apart"


def test_known_answers_of_a_linear_model() -> None:
    data = margins()
    away = distances(data)
    networks = {"teacher": Nearest(TWO, channel=1), "reference": Nearest(TWO)}
    outcome = measure(Transfer(), Nearest(TWO), data, networks=networks)
    # 10 steps of 0.006 reach the radius of 8 levels; the teacher looks at green and leaves red as it is
    assert np.array_equal(outcome.correct["teacher/correct"].numpy(), away > 0)
    assert np.array_equal(outcome.correct["reference/correct"].numpy(), away > 8)
    assert torch.equal(outcome.correct["self/correct"], outcome.correct["reference/correct"])
    assert one(outcome, "conditional_accuracy", source="teacher").value == 1
    assert one(outcome, "conditional_accuracy", source="self").n == (away > 0).sum()


def test_sources_are_those_of_the_setting_and_always_the_student_itself() -> None:
    task = Transfer()
    assert tuple(task.sources(task.resolve({}))) == ("teacher", "reference")
    assert tuple(task.sources(task.resolve({"sources": ["reference"]}))) == ("reference",)
    for sources in ([], ["reference"]):
        networks = {role: Nearest(TWO, channel=1) for role in sources}
        outcome = measure(task, Nearest(TWO), margins(), networks=networks, sources=sources, steps=2)
        assert [score.setting["source"] for score in select(outcome, "accuracy")] == [*sources, "self"]


def test_a_subset_is_attacked_alone() -> None:
    outcome = measure(Transfer(), Nearest(TWO), margins(), sources=[], subset=6, steps=2)
    assert {score.n for score in select(outcome, "accuracy")} == {6}
    index, away = outcome.correct["index"], distances(margins())
    assert one(outcome, "conditional_accuracy", source="self").n == (away[index.numpy()] > 0).sum()
    assert set(outcome.subsets) == {"transfer"}
    assert all((score.setting["subset"], score.setting["subset_seed"]) == (6, 0) for score in outcome.scores)


def test_no_conditional_accuracy_where_nothing_was_right() -> None:
    data = TestData(image_set(flat([110, 112, 114]), [1, 1, 1], classes=2))
    outcome = measure(Transfer(), Nearest(TWO), data, sources=[], steps=2)
    assert not select(outcome, "conditional_accuracy")
    assert_share(one(outcome, "accuracy", source="self"), 0, 3)


@pytest.mark.parametrize("role", ["teacher", "reference"])
def test_the_sources_are_left_as_they_were(role: str) -> None:
    source = Nearest(TWO).train()
    measure(Transfer(), Nearest(TWO), margins(), networks={role: source}, sources=[role], steps=1)
    assert source.training
    assert source.levels.requires_grad
    assert source.levels.grad is None


class Stubborn(Nearest):
    """The answer of a linear network, without a gradient for images of the first class."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return torch.where(images[:, 0, 0, 0, None] < 125 / 255, logits.detach() + 0 * logits, logits)


def test_a_student_that_other_networks_break_better_is_flagged() -> None:
    data = TestData(image_set(flat([119] * 40), [0] * 40, classes=2))
    networks = {"teacher": Nearest(TWO), "reference": Nearest(TWO, channel=1)}
    outcome = measure(Transfer(), Stubborn(TWO), data, networks=networks)
    by_role = {check.meaning.split()[2]: check for check in outcome.checks if check.name == "transfer"}
    assert not by_role["teacher"].passed
    assert by_role["teacher"].value == 1.0
    assert set(by_role["teacher"].flags) == {"transfer", "pgd"}
    assert by_role["reference"].passed
    assert all(by_role["teacher"].concerns(score) for score in outcome.scores)


def test_an_honest_student_passes() -> None:
    model, data = random_net()
    networks = {"teacher": TinyNet(4, seed=7), "reference": TinyNet(4, seed=11)}
    outcome = measure(Transfer(), model, data, networks=networks)
    assert all(check.passed for check in outcome.checks)
    assert len(outcome.checks) == 3


class Trembling(TinyNet):
    """A network whose answer trembles, and that counts how often it is asked."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__(classes, seed)
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += 1
        return super().forward(images + 0.01 * torch.randn_like(images))


def test_a_random_source_is_attacked_through_averaged_gradients_also_for_a_student_that_is_not() -> None:
    model, data = random_net()
    teacher = Trembling(4, seed=7)
    networks = {"teacher": teacher, "reference": TinyNet(4, seed=11)}
    outcome = measure(Transfer(), model, data, networks=networks, steps=3, gradient_draws=8)
    assert teacher.asked >= 3 * 8
    assert one(outcome, "accuracy", source="teacher").setting["gradient_draws"] == 8
    assert "gradient_draws" not in one(outcome, "accuracy", source="self").setting
    assert all("votes" not in score.setting for score in outcome.scores)
