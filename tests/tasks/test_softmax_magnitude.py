from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.tasks import EvaluationContext
from kdbench.tasks.scorecard import Scorecard
from kdbench.tasks.softmax_magnitude import SoftmaxMagnitude
from tests.tasks.helpers import CPU, Nearest, measure, select, ten_classes

STUDENT, TEACHER = Nearest(), Nearest(sharpness=60.0)


@pytest.fixture(scope="module")
def outcome() -> TaskResult:
    return measure(SoftmaxMagnitude(), STUDENT, ten_classes(), networks={"teacher": TEACHER}, bins=10)


def test_shares_of_outputs_are_those_of_numpy(outcome: TaskResult) -> None:
    images = ten_classes().test.images.float() / 255
    for network, model in (("student", STUDENT), ("teacher", TEACHER)):
        with torch.no_grad():
            probabilities = model(images).double().softmax(1).numpy()
        for outputs, values in (("all", probabilities), ("largest", probabilities.max(1))):
            found = select(outcome, "output_share", network=network, outputs=outputs)
            expected = [((values >= b / 10) & ((values < (b + 1) / 10) | (b == 9))).mean() for b in range(10)]
            assert [score.value for score in found] == pytest.approx(expected)
            assert [score.setting["low"] for score in found] == pytest.approx(np.arange(10) / 10)
            assert {score.n for score in found} == {60}
    student, teacher = ([score.value for score in select(outcome, "output_share", network=name, outputs="largest")]
                        for name in ("student", "teacher"))  # fmt: skip
    assert student != teacher, "the networks must differ"


def test_intervals_are_wilson_s(outcome: TaskResult) -> None:
    for score in select(outcome, "output_share", network="student", outputs="largest"):
        expected = binomtest(round(score.value * 60), 60).proportion_ci(0.95, "wilson")
        assert (score.ci_low, score.ci_high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_student_alone() -> None:
    task = SoftmaxMagnitude()
    settings, ctx = task.resolve({"networks": [], "bins": 2}), EvaluationContext("clean", CPU, None)
    outcome = run_task(task, settings, STUDENT, ten_classes(), ctx)
    assert {score.setting["network"] for score in outcome.scores} == {"student"}
    assert len(outcome.scores) == 4


def test_shares_that_do_not_add_up_are_found(outcome: TaskResult) -> None:
    def objections(scores: list[Score]) -> list[str]:
        card = Scorecard("softmax_magnitude", SoftmaxMagnitude.Settings(bins=10), tuple(scores), (), {}, ())
        return [found.message for found in SoftmaxMagnitude().audit(card)]

    assert objections(outcome.scores) == []
    [found] = objections(outcome.scores[1:]) if outcome.scores[0].value else [""]
    assert found.startswith("shares of all outputs of student add up to")
