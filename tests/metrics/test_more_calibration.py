"""Calibration by equal mass and by class, proper scores and temperature scaling against loops and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.metrics import brier_score_loss, log_loss
from torch import Tensor

from kdbench.metrics import (
    adaptive_calibration_error,
    brier_score,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    temperature_scaled_ece,
)
from tests.metrics.test_metrics import predictions


@pytest.mark.parametrize("bins", [1, 3, 15, 997, 2000])
def test_adaptive_bins_hold_equally_many_examples(bins: int) -> None:
    p, y = predictions(997)
    y[::3] = 0
    confidence, hit = p.numpy().max(1), p.numpy().argmax(1) == y.numpy()
    order = np.argsort(confidence)
    total, start = 0.0, 0
    for m in range(1, bins + 1):
        end = math.ceil(m * 997 / bins)
        part = order[start:end]
        total += abs((hit[part].astype(float) - confidence[part]).sum()) / 997
        start = end
    assert adaptive_calibration_error(p, y, bins=bins) == pytest.approx(total, abs=1e-12)


def test_an_adaptive_edge_is_where_a_whole_number_of_examples_says() -> None:
    """In floating point 332 / 20 * 15 is a hair above 249: the fifteenth bin would have an example more."""
    confidence = torch.linspace(0.51, 0.99, 332, dtype=torch.float64)
    p, y = torch.stack([confidence, 1 - confidence], 1), torch.ones(332, dtype=torch.int64)
    y[233:249] = 0  # that bin alone is right
    gaps = ((y == 0).double() - confidence).tolist()
    ends = [-(-m * 332 // 20) for m in range(21)]
    total = sum(abs(math.fsum(gaps[a:b])) for a, b in itertools.pairwise(ends)) / 332
    assert adaptive_calibration_error(p, y, bins=20) == pytest.approx(total, abs=1e-12)


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    p = torch.tensor([[0.75, 0.25]] * 8).double()
    y = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    assert adaptive_calibration_error(p, y, bins=4) == adaptive_calibration_error(p, y.flip(0), bins=4) == 0.0


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_classwise_error_equals_a_loop_over_classes_and_bins(bins: int) -> None:
    p, y = predictions(500, classes=4)
    total = 0.0
    for c in range(4):
        column, is_class = p.numpy()[:, c], y.numpy() == c
        for m in range(bins):
            inside = (column > m / bins) & (column <= (m + 1) / bins)
            if inside.any():
                total += inside.mean() * abs(is_class[inside].mean() - column[inside].mean())
    assert classwise_calibration_error(p, y, bins=bins) == pytest.approx(total / 4, abs=1e-12)


def test_with_two_classes_the_classwise_error_sees_both_columns() -> None:
    p, y = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).double(), torch.tensor([0, 1])
    assert classwise_calibration_error(p, y) == pytest.approx(0.4)
    assert expected_calibration_error(p, y) == pytest.approx(0.4)


def test_proper_scores_are_those_of_scikit_learn() -> None:
    p, y = predictions(300, classes=5)
    assert negative_log_likelihood(p.log(), y) == pytest.approx(log_loss(y, p, labels=range(5)), abs=1e-12)
    by_class = sum(brier_score_loss(y == c, p[:, c]) for c in range(5))
    assert brier_score(p, y) == pytest.approx(by_class, abs=1e-12)
    assert brier_score(torch.eye(2).double(), torch.tensor([1, 0])) == 2.0


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_temperature_is_the_one_a_search_finds(true: float) -> None:
    p, y = predictions(4000)
    logits = true * p.log()

    def loss(t: float) -> float:
        return negative_log_likelihood(logits / t, y)

    found = fit_temperature(logits, y)
    searched = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(searched.x, rel=1e-5)
    assert found == pytest.approx(true, rel=0.05)


def test_where_no_temperature_is_best_it_is_the_end_of_the_range() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(sure, torch.tensor([0, 1])) == 0.01
    assert fit_temperature(sure, torch.tensor([1, 0])) == 100.0


def _overconfident(seed: int) -> tuple[Tensor, Tensor]:
    p, y = predictions(4000, seed=seed)
    return 3 * p.log(), y


def test_scaling_corrects_what_one_number_can() -> None:
    (logits, y), held_out = _overconfident(0), _overconfident(1)
    raw = expected_calibration_error(logits.softmax(1), y)
    scaled = temperature_scaled_ece(logits, y, *held_out)
    assert raw > 0.2
    assert scaled < 0.02
    assert scaled == pytest.approx(expected_calibration_error((logits / fit_temperature(*held_out)).softmax(1), y))
