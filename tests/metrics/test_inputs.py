"""Labels that are no classes, arrays of other libraries, values that are no numbers: right, or one clear line."""

from __future__ import annotations

from collections.abc import Callable

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
