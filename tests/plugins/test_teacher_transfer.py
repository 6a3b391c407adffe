"""The task that attacks a teacher through its student."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import make_image_set
from kdbench.inference.prediction import frozen
from kdbench.plugin.loader import load_plugins
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.tasks import EvaluationContext, TestData

TASK = load_plugins().tasks.get("teacher_transfer")


class Linear(nn.Module):
    """Two classes by one direction of the pixels, which an attack can turn."""

    def __init__(self, weight: Tensor, noise: float = 0.0) -> None:
        super().__init__()
        self.weight, self.noise = nn.Parameter(weight), noise

    def forward(self, pixels: Tensor) -> Tensor:
        score = (pixels - 0.5).flatten(1) @ self.weight
        if self.noise:
            score = score + self.noise * torch.randn(score.shape)
        return torch.stack([-score, score], dim=1)


def direction(seed: int) -> Tensor:
    return torch.randn(3 * 32 * 32, generator=torch.Generator().manual_seed(seed))


def data(teacher: Linear) -> TestData:
    """Images of random pixels, nine in ten of them labelled as the teacher says."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (60, 3, 32, 32), generator=generator).to(torch.uint8)
    with torch.no_grad():
        score = (images.float() / 255 - 0.5).flatten(1) @ teacher.weight
    labels = (score > 0).long()
    labels[::10] = 1 - labels[::10]
    return TestData(make_image_set("lines", images, labels, ("down", "up"), "generated"))


def measure(student: nn.Module, teacher: nn.Module, test: TestData, **settings: float) -> TaskResult:
    ctx = EvaluationContext("clean", torch.device("cpu"), None, networks={"teacher": teacher})
    return run_task(TASK, TASK.resolve({"eps": 0.02, "step_size": 0.01, "steps": 3, **settings}), student, test, ctx)


def accuracies(outcome: TaskResult) -> dict[str, float]:
    return {str(score.setting["source"]): score.value for score in outcome.scores}


def test_each_source_breaks_the_teacher_as_far_as_it_resembles_it() -> None:
    teacher, stranger = Linear(direction(0)), Linear(direction(1))
    test = data(teacher)
    same = accuracies(measure(Linear(direction(0)), teacher, test))
    assert same["none"] == pytest.approx(0.9)
    assert same["student"] == same["teacher"] < same["none"]
    other = accuracies(measure(stranger, teacher, test))
    assert other["teacher"] == same["teacher"]
    assert other["teacher"] < other["student"]


def test_the_numbers_are_those_of_an_attack_written_out() -> None:
    """On a linear network the gradient's sign is the same in every step: the examples are known."""
    student, teacher = Linear(direction(2)), Linear(direction(0))
    test = data(teacher)
    outcome = measure(student, teacher, test)
    images, labels = test.test.images.float() / 255, test.test.labels
    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None] * student.weight.detach().sign().view(1, 3, 32, 32)
    examples = (images + 0.02 * away).clamp(0, 1)
    with torch.no_grad(), frozen(teacher):
        right = teacher(examples).argmax(1) == labels
    assert torch.equal(outcome.correct["student/correct"], right)
    assert accuracies(outcome)["student"] == pytest.approx(float(right.double().mean()))


def test_every_score_names_the_results_behind_it() -> None:
    outcome = measure(Linear(direction(1)), Linear(direction(0)), data(Linear(direction(0))), subset=40)
    for score in outcome.scores:
        behind = TASK.results_key(score)
        assert behind is not None
        assert float(outcome.correct[behind].double().mean()) == pytest.approx(score.value)
        assert score.n == len(outcome.correct["index"]) == 40


def test_a_random_teacher_is_attacked_through_averaged_gradients_and_judged_by_votes() -> None:
    teacher = Linear(direction(0), noise=0.1)
    settings = {score.setting["source"]: score.setting for score in measure(
        Linear(direction(1)), teacher, data(teacher), votes=5
    ).scores}  # fmt: skip
    budget = {"eps": 0.02, "step_size": 0.01, "steps": 3, "restarts": 1, "start": "zero", "iterate": "best"}
    drawn = {"subset": 1000, "subset_seed": 0}
    assert settings["none"] == {"source": "none", "votes": 5, **drawn}
    assert settings["student"] == {"source": "student", **budget, "votes": 5, **drawn}
    assert settings["teacher"] == {"source": "teacher", **budget, "votes": 5, "gradient_draws": 8, **drawn}


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(kdbench.KdbenchError, match="gradient_draws"):
        TASK.resolve({"gradient_draws": 1})
