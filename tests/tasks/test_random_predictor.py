"""Scores of a network that is random at test time: of its first draw, with an interval that includes draws."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, t
from torch import Tensor

from kdbench.metrics import expected_calibration_error, with_draws
from kdbench.results.record import Score
from kdbench.tasks import EvaluationContext
from kdbench.tasks.calibration import Calibration
from kdbench.tasks.clean import Clean
from kdbench.tasks.corruption import Corruption
from kdbench.tasks.noisy_label import NoisyLabel
from kdbench.tasks.ood import OutOfDistribution
from kdbench.tasks.peers import Peers
from tests.tasks.helpers import CPU, Nearest, measure, nearest_is_right, one, ten_classes


class OneDraw(Nearest):
    """Levels that move together, by one draw for a whole batch."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images + 0.08 * torch.randn(1)).clamp(0, 1))


def widened(value: float, interval: tuple[float, float], values: list[float]) -> tuple[float, float]:
    """By SciPy and by hand."""
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)
    low, high = (math.sqrt((value - bound) ** 2 + half**2) for bound in interval)
    return max(0.0, value - low), min(1.0, value + high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    found = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return found.low, found.high


def test_draws_widen_an_interval_and_one_does_not() -> None:
    assert with_draws((0.8, 0.95), [0.9]) == (0.8, 0.95)
    assert with_draws((0.8, 0.95), [0.9] * 5) == pytest.approx((0.8, 0.95))
    values = [0.86, 0.82, 0.9, 0.88, 0.8]
    assert with_draws((0.8, 0.91), values) == pytest.approx(widened(0.86, (0.8, 0.91), values))
    assert with_draws((0.95, 1.0), [0.97, 0.8]) == (0.0, 1.0)  # two draws say little of their spread


def assert_of_draws(score: Score, correct: Tensor) -> None:
    hits = [int(one.sum()) for one in correct]
    n = correct.shape[1]
    assert len(set(hits)) > 1
    assert score.value == hits[0] / n
    assert score.setting["draws"] == len(hits) == 5
    expected = widened(score.value, wilson(hits[0], n), [count / n for count in hits])
    assert (score.ci_low, score.ci_high) == pytest.approx(expected)
    low, high = wilson(hits[0], n)
    assert score.ci_low < low
    assert score.ci_high > high or score.ci_high == 1


def test_accuracies_are_of_the_first_draw_and_their_intervals_include_five() -> None:
    model = OneDraw()
    data = dataclasses.replace(ten_classes(), ood=ten_classes(count=35, wrong=3, name="far-away").test)
    ctx = EvaluationContext("clean", CPU, None)
    logits = ctx.draws(model, data.test)
    assert logits.shape == (5, 60, 10)
    correct = logits.argmax(2) == data.test.labels
    assert torch.equal(ctx.is_correct(model, data.test), correct[0])
    assert torch.equal(ctx.logits(model, data.test), logits[0])
    for task in (Clean(), NoisyLabel()):
        outcome = measure(task, model, data)
        assert_of_draws(one(outcome, "accuracy"), correct)
        assert torch.equal(outcome.correct["correct"], correct[0])
    assert data.ood is not None
    away = ctx.draws(model, data.ood).argmax(2) == data.ood.labels
    outcome = measure(OutOfDistribution(), model, data)
    assert_of_draws(one(outcome, "accuracy", dataset="far-away"), away)
    top = measure(Clean(), model, data, top5=True)
    among = (logits.argsort(2, descending=True)[:, :, :5] == data.test.labels[:, None]).any(2)
    assert one(top, "top5_accuracy").value == among[0].double().mean().item()


def test_calibration_and_the_mean_of_two_networks_include_draws_too() -> None:
    model, data = OneDraw(), ten_classes()
    ctx = EvaluationContext("clean", CPU, None)
    logits = ctx.draws(model, data.test).double()
    errors = [expected_calibration_error(one.softmax(1), data.test.labels, bins=15) for one in logits]
    score = one(measure(Calibration(), model, data), "ece")
    assert score.value == pytest.approx(errors[0])
    assert score.setting == {"bins": 15, "draws": 5}
    assert (score.ci_high - score.value) > 2.7 * statistics.stdev(errors)  # t with four degrees of freedom is 2.776
    peers = measure(Peers(), model, data, networks={"student": model, "peer": Nearest()})
    mean = one(peers, "mean_accuracy")
    assert mean.setting == {"draws": 5}
    right = nearest_is_right(data.test)
    draws = (logits.argmax(2) == data.test.labels).numpy()
    assert mean.value == pytest.approx((draws[0].mean() + right.mean()) / 2)
    assert "draws" not in one(peers, "accuracy", network="peer").setting
    means = [(draw.mean() + right.mean()) / 2 for draw in draws]
    assert mean.ci_high - mean.value > 2.7 * statistics.stdev(means)


def test_corrupted_images_are_seen_in_each_draw() -> None:
    outcome = measure(Corruption(), OneDraw(), ten_classes(count=40, wrong=0))
    cells = [score for score in outcome.scores if score.metric == "accuracy"]
    assert {score.setting["draws"] for score in outcome.scores} == {5}
    mca = one(outcome, "mca")
    assert mca.value == pytest.approx(statistics.fmean(score.value for score in cells))
    for score in cells:
        key = f"{score.setting['corruption']}-{score.setting['severity']}/correct"
        assert outcome.correct[key].shape == (40,)
        assert outcome.correct[key].double().mean().item() == score.value
    low, high = wilson(round(mca.value * 40), 40)
    assert mca.ci_low <= low + 0.02
    assert mca.ci_high >= high - 0.02
