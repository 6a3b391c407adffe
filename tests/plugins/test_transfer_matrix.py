"""The tasks of the smoothing plugin that attack single draws: the transfer matrix, and accuracy against steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kdbench_smoothing.single_draws import single
from kdbench_smoothing.smoothed import Smoothed
from torch import Tensor, nn

import kdbench
from kdbench.plugin.loader import load_plugins
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.tasks import EvaluationContext, TestData
from tests.plugins.test_teacher_transfer import Linear, data, direction

MATRIX, STEPS = (load_plugins().tasks.get(name) for name in ("transfer_matrix", "accuracy_against_steps"))
BUDGET = {"eps": 0.02, "step_size": 0.01, "steps": 3}


def smoothed(network: nn.Module, **more: float) -> Smoothed:
    return Smoothed(network, smoothing="soft", draws=4, **more)


def matrix(student: nn.Module, teacher: nn.Module, test: TestData, **settings: float) -> TaskResult:
    ctx = EvaluationContext("clean", torch.device("cpu"), None, networks={"teacher": teacher})
    return run_task(MATRIX, MATRIX.resolve({**BUDGET, "votes": 5, **settings}), student, test, ctx)


def steps(predictor: nn.Module, test: TestData, **settings: object) -> TaskResult:
    ctx = EvaluationContext("clean", torch.device("cpu"), None)
    return run_task(
        STEPS, STEPS.resolve({"radii": [0.02], "step_size": 0.01, "steps": 3, **settings}), predictor, test, ctx
    )


def moved(test: TestData, weight: Tensor, by: float) -> Tensor:
    """On a linear network the gradient's sign is the same in every step: the examples are known."""
    labels = test.test.labels
    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None] * weight.sign().view(1, 3, 32, 32)
    return (test.test.images.float() / 255 + by * away).clamp(0, 1)


def right(network: Linear, images: Tensor, test: TestData) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(1) == test.test.labels


def test_every_network_judges_the_examples_of_every_one() -> None:
    student, plain = Linear(direction(2)), Linear(direction(0))
    test = data(plain)
    outcome = matrix(student, smoothed(plain), test)
    cells = {(score.setting["source"], score.setting["target"]): score
             for score in outcome.scores if score.metric == "accuracy"}  # fmt: skip
    names = ("cni", "smoothed-cni", "student")
    assert set(cells) == {(source, target) for source in ("none", *names) for target in names}
    for source, network in (("cni", plain), ("student", student)):
        examples = moved(test, network.weight.detach(), 0.02)
        for target, judge in (("cni", plain), ("student", student)):
            assert outcome.correct[f"{source}/{target}/correct"].equal(right(judge, examples, test)), (source, target)
    assert outcome.correct["none/cni/correct"].equal(right(plain, moved(test, plain.weight, 0), test))
    assert cells["cni", "cni"].value < cells["student", "cni"].value < cells["none", "cni"].value
    for score in outcome.scores:
        if score.metric == "accuracy":
            kept = outcome.correct[str(MATRIX.results_key(score))]
            assert score.value == pytest.approx(float(kept.double().mean()))
    conditional = [score for score in outcome.scores if score.metric == "conditional_accuracy"]
    assert len(conditional) == 9


def test_smoothed_cni_is_the_same_network_under_noise_on_the_pixels() -> None:
    """Also where the teacher is measured with none, or with another; the plain one is not random here."""
    plain = Linear(direction(0))
    test = data(plain)
    for own in (0.0, 0.3):
        outcome = matrix(Linear(direction(2)), smoothed(plain, input_sigma=own), test, input_sigma=4.0)
        settings = {(score.setting["source"], score.setting["target"]): score.setting for score in outcome.scores}
        assert "votes" not in settings["none", "cni"]
        assert settings["cni", "smoothed-cni"]["votes"] == 5
        assert settings["smoothed-cni", "cni"]["gradient_draws"] == 8
        clean = {
            name: float(outcome.correct[f"none/{name}/correct"].double().mean()) for name in ("cni", "smoothed-cni")
        }
        assert clean["smoothed-cni"] < clean["cni"] == pytest.approx(0.9)


def test_a_teacher_without_random_weights_is_refused() -> None:
    with pytest.raises(kdbench.KdbenchError, match="weights are not random"):
        matrix(Linear(direction(0)), Linear(direction(0)), data(Linear(direction(0))))


def test_a_suite_whose_teacher_is_not_random_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(kdbench.KdbenchError, match="task 'transfer_matrix' found a teacher trained by method ce"):
        kdbench.run("digits", "ce", conditions=["clean"], tasks=["transfer_matrix"], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("draws", "passed"), [(1, False), (8, True)])
def test_gradients_of_few_draws_are_measured_as_published_and_doubted(draws: int, passed: bool) -> None:
    teacher = smoothed(Linear(direction(0), noise=0.1))
    test = data(Linear(direction(0)))
    for outcome in (
        matrix(Linear(direction(2)), teacher, test, gradient_draws=draws), steps(teacher, test, gradient_draws=draws),
    ):  # fmt: skip
        [check] = [check for check in outcome.checks if check.name == "few_draws"]
        assert check.passed is passed
        assert any(score.setting.get("gradient_draws") == draws for score in outcome.scores)


def curve(outcome: TaskResult, rule: str) -> list[float]:
    return [score.value for score in outcome.scores if score.setting["rule"] == rule]


def test_accuracy_after_each_number_of_steps_is_that_of_the_iterate() -> None:
    network = Linear(direction(0))
    test = data(network)
    outcome = steps(network, test)
    expected = [right(network, moved(test, network.weight.detach(), min(0.02, 0.01 * k)), test) for k in range(4)]
    assert curve(outcome, "independent") == pytest.approx([float(one.double().mean()) for one in expected])
    assert curve(outcome, "cumulative") == curve(outcome, "independent")
    assert [score.setting["reach"] for score in outcome.scores[::2]] == [0, 0.01, 0.02, 0.02]
    assert all(STEPS.results_key(score) in outcome.correct for score in outcome.scores)


def test_errors_of_a_random_network_add_up_in_the_cumulative_curve_alone() -> None:
    """An attack that can't move anything: only the draws differ from step to step."""
    network = smoothed(Linear(direction(0), noise=15.0))
    outcome = steps(network, data(Linear(direction(0))), radii=[1e-9], votes=101)
    cumulative, independent = curve(outcome, "cumulative"), curve(outcome, "independent")
    assert cumulative == sorted(cumulative, reverse=True)
    assert cumulative[-1] < cumulative[0] - 0.1
    assert independent[-1] == pytest.approx(independent[0], abs=0.1)


def test_a_single_draw_ignores_how_the_network_is_smoothed() -> None:
    network = smoothed(Linear(direction(0)), input_sigma=0.2)
    plain = single(network, 0.0)
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert plain(pixels).equal(network.network(pixels))
    torch.manual_seed(1)
    drawn = single(network)(pixels)
    torch.manual_seed(1)
    assert drawn.equal(network.once(pixels))
    assert single(network.network) is network.network
