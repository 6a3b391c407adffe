"""Labels that are no classes, arrays of other libraries, values that are no numbers: right, or one clear line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kdbench import metrics
from kdbench.errors import KdbenchError
from tests.metrics.test_metrics import predictions

BY_PROBABILITIES: dict[str, Callable[..., object]] = {
    "ece": metrics.expected_calibration_error,
    "adaptive": metrics.adaptive_calibration_error,
    "classwise": metrics.classwise_calibration_error,
    "brier": metrics.brier_score,
    "bootstrap": lambda p, y: metrics.bootstrap_ece_interval(p, y, resamples=10),
    "bins": lambda p, y: metrics.reliability_bins(p, y).count.tolist(),
    "accuracy": metrics.accuracy,
    "nll": lambda p, y: metrics.negative_log_likelihood(p, y),
    "temperature": lambda p, y: metrics.fit_temperature(p, y),
}


@pytest.mark.parametrize("name", BY_PROBABILITIES)
def test_numpy_arrays_are_taken_as_tensors_are(name: str) -> None:
    metric = BY_PROBABILITIES[name]
    p, y = predictions(200)
    expected = metric(p, y)
    assert metric(p.numpy(), y.numpy()) == expected
    assert metric(p, y.numpy().astype(np.uint16)) == expected
    assert metric(p.numpy()[::-1], y.numpy()[::-1]) == pytest.approx(metric(p.flip(0), y.flip(0)), abs=1e-12)
    assert metric(p.numpy().astype(">f8"), y.numpy().astype(">i4")) == expected
    assert metric(p.requires_grad_(), y) == expected


@pytest.mark.parametrize("name", BY_PROBABILITIES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.index_fill(0, torch.tensor([3]), -1), "label -1 found, expected 0 to 9"),
        (lambda y: y.index_fill(0, torch.tensor([3]), 10), "label 10 found, expected 0 to 9"),
        (lambda y: y.double(), "labels are torch.float64, expected integers"),
        (lambda y: y > 4, "labels are torch.bool, expected integers"),
        (lambda y: y[:-1], r"labels have shape \(199,\), expected \(200,\)"),
        (lambda y: torch.nn.functional.one_hot(y, 10), r"labels have shape \(200, 10\)"),
        (lambda y: y.tolist(), "labels found list, expected a tensor or a NumPy array"),
        (lambda y: y.numpy().astype(str), "labels found an array of <U"),
    ],
)
def test_labels_that_are_no_classes_are_an_error(name: str, change: Callable[..., object], message: str) -> None:
    p, y = predictions(200)
    with pytest.raises(KdbenchError, match=message):
        BY_PROBABILITIES[name](p, change(y))


def test_predicted_classes_have_labels_from_0() -> None:
    assert metrics.accuracy(np.array([0, 1, 2]), np.array([0, 1, 1])) == 2 / 3
    with pytest.raises(KdbenchError, match="label -1 found, expected 0 or more"):
        metrics.accuracy(torch.tensor([0, -1]), torch.tensor([0, -1]))


@pytest.mark.parametrize("name", BY_PROBABILITIES)
def test_values_that_are_not_numbers_or_not_there_are_an_error(name: str) -> None:
    p, y = predictions(200)
    broken = p.clone()
    broken[0, 0] = float("nan")
    with pytest.raises(KdbenchError, match="nan|not finite"):
        BY_PROBABILITIES[name](broken, y)
    with pytest.raises(KdbenchError, match=r"no examples|shape \(0, 10\)"):
        BY_PROBABILITIES[name](p[:0], y[:0])
    with pytest.raises(KdbenchError, match="found str, expected a tensor or a NumPy array"):
        BY_PROBABILITIES[name]("0.5", y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"confidence": torch.tensor([0.5, float("nan")])}, "confidence ranges over .nan, nan., expected .0, 1."),
        ({"confidence": torch.tensor([0.5, 1.2])}, "confidence ranges over .0.5, 1.2."),
        ({"confidence": torch.tensor([50, 90])}, "confidence is torch.int64"),
        ({"confidence": torch.tensor([])}, "confidence is torch.float32 of shape .0,."),
        ({"correct": torch.tensor([5, 1])}, "correct is torch.int64 of shape .2,., expected bool"),
        ({"correct": torch.tensor([True])}, "correct is torch.bool of shape .1,., expected bool of shape .2,."),
        ({"bins": 0}, "bins is 0, expected a whole number"),
        ({"bins": 1.5}, "bins is 1.5, expected a whole number"),
    ],
)
def test_bins_of_what_is_no_confidence_are_refused(wrong: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "confidence": torch.tensor([0.5, 0.9]), "correct": torch.tensor([True, False]), "bins": 15, **wrong
    }  # fmt: skip
    with pytest.raises(KdbenchError, match=message):
        metrics.confidence_bins(given["confidence"], given["correct"], bins=given["bins"])


def test_intervals_of_what_is_no_fraction_are_refused() -> None:
    for wrong in (((80.0, 90.0), [0.8, 0.9]), ((0.8, 0.9), [80.0, 90.0]), ((0.8, float("nan")), [0.8, 0.9])):
        with pytest.raises(KdbenchError, match="is no fraction, expected values in .0, 1."):
            metrics.with_draws(*wrong)
    for share, n in ((1.5, 10), (float("nan"), 10), (0.5, 0)):
        with pytest.raises(KdbenchError, match=f"a share of {share} of {n} examples"):
            metrics.score_interval(share, n, 1.96)
