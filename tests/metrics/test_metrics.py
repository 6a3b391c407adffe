"""Metrics against independent computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.metrics import (
    accuracy,
    bootstrap_ece_interval,
    expected_calibration_error,
    reliability_bins,
    wilson_interval,
)


def predictions(n: int, classes: int = 10, seed: int = 0, sharpness: float = 2.0) -> tuple[Tensor, Tensor]:
    """Calibrated float64 probabilities (n, classes): the labels are drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (sharpness * torch.randn(n, classes, generator=generator).double()).softmax(dim=1)
    return probabilities, torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def naive_ece(probabilities: Tensor, labels: Tensor, bins: int) -> float:
    """Example by example, bin by bin: lower edge open, upper closed."""
    p, y = probabilities.numpy(), labels.numpy()
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return float(total)


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 100])
@pytest.mark.parametrize("sharpness", [0.5, 2.0, 8.0])
def test_ece_equals_a_naive_loop(bins: int, sharpness: float) -> None:
    probabilities, labels = predictions(997, sharpness=sharpness)
    labels[::3] = 0  # not calibrated
    got = expected_calibration_error(probabilities, labels, bins=bins)
    assert got == pytest.approx(naive_ece(probabilities, labels, bins), abs=1e-13)


def test_ece_by_hand() -> None:
    top = torch.tensor([0.55, 0.58, 0.95, 0.91, 0.99], dtype=torch.float64)
    probabilities = torch.stack([top, 1 - top], dim=1)
    labels = torch.tensor([0, 1, 0, 1, 0])
    # bin (.5, .6]: accuracy 1/2, confidence .565; bin (.9, 1]: accuracy 2/3, confidence .95
    expected = 2 / 5 * 0.065 + 3 / 5 * (0.95 - 2 / 3)
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [5, 10, 15])
def test_an_edge_belongs_to_the_bin_below_and_one_to_the_last(bins: int, dtype: torch.dtype) -> None:
    edges = (torch.arange(1, bins + 1, dtype=torch.float64) / bins).to(dtype)
    probabilities = torch.stack([edges] + [(1 - edges) / 1000] * 1000, dim=1)
    counted = reliability_bins(probabilities, torch.zeros(bins, dtype=torch.long), bins=bins)
    assert counted.count.tolist() == [1] * bins
    above = torch.nextafter(edges[:-1], torch.ones(1, dtype=dtype))
    probabilities = torch.stack([above] + [(1 - above) / 1000] * 1000, dim=1)
    counted = reliability_bins(probabilities, torch.zeros(bins - 1, dtype=torch.long), bins=bins)
    assert counted.count.tolist() == [0] + [1] * (bins - 1)


def test_reliability_bins_say_what_lies_in_each() -> None:
    top = torch.tensor([0.62, 0.68, 0.95, 1.0])
    parts = reliability_bins(torch.stack([top, 1 - top], dim=1), torch.tensor([0, 1, 0, 0]), bins=10)
    assert parts.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert parts.accuracy[6] == 0.5
    assert parts.confidence[6].item() == pytest.approx(0.65, abs=1e-7)
    assert parts.confidence[9].item() == pytest.approx(0.975, abs=1e-7)
    assert parts.accuracy[9] == 1.0
    assert float(parts.accuracy[:6].sum() + parts.confidence[:6].sum()) == 0.0
    assert parts.lower.tolist() == pytest.approx([m / 10 for m in range(10)])
    assert parts.upper.tolist() == pytest.approx([(m + 1) / 10 for m in range(10)])


def test_certain_predictions() -> None:
    certain = torch.eye(4)
    assert expected_calibration_error(certain, torch.arange(4)) == 0.0
    assert expected_calibration_error(certain, (torch.arange(4) + 1) % 4) == 1.0


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(2, 20), st.integers(1, 30), st.integers(0, 1000))
def test_ece_lies_between_the_mean_gap_and_one(n: int, classes: int, bins: int, seed: int) -> None:
    """Merging bins can only cancel gaps: ECE with one bin is |accuracy - mean confidence|."""
    probabilities, labels = predictions(n, classes, seed)
    gap = abs(accuracy(probabilities, labels) - float(probabilities.max(dim=1).values.mean()))
    assert gap - 1e-12 <= expected_calibration_error(probabilities, labels, bins=bins) <= 1.0


def test_accuracy_of_logits_and_of_predictions() -> None:
    logits, labels = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 7
    expected = float(np.mean(logits.numpy().argmax(axis=1) == labels.numpy()))
    assert accuracy(logits, labels) == expected
    assert accuracy(logits.argmax(dim=1), labels) == expected
    assert accuracy(torch.zeros(3, 4), torch.tensor([0, 1, 0])) == pytest.approx(2 / 3)  # ties go to the lowest class


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 13), (5000, 10000), (9999, 10000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(correct: int, n: int, confidence: float) -> None:
    expected = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(correct, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_bounds_solve_the_score_equation() -> None:
    """At a bound p the score statistic |share - p| / sqrt(p (1 - p) / n) is the normal quantile."""
    for bound in wilson_interval(37, 120):
        assert abs(37 / 120 - bound) / np.sqrt(bound * (1 - bound) / 120) == pytest.approx(1.959963984540054, abs=1e-9)


def test_wilson_takes_a_mean_over_repetitions() -> None:
    low, high = wilson_interval(0.35 * 1000, 1000)
    below, above = wilson_interval(349, 1000), wilson_interval(351, 1000)
    assert below[0] < low < above[0]
    assert below[1] < high < above[1]


def test_bootstrap_equals_an_independent_one() -> None:
    probabilities, labels = predictions(400)
    labels[::4] = 3
    estimate = naive_ece(probabilities, labels, 10)
    low, high = bootstrap_ece_interval(probabilities, labels, bins=10, resamples=2000)
    random = np.random.default_rng(1)
    values = np.array([
        naive_ece(probabilities[sample], labels[sample], 10)
        for sample in (torch.from_numpy(random.integers(0, 400, 400)) for _ in range(2000))
    ])  # fmt: skip
    expected = estimate + np.quantile(values, [0.025, 0.975]) - values.mean()
    # Two bootstraps of 2000: the Monte-Carlo error of a 2.5 % quantile is about .06 of a standard deviation.
    assert np.abs(np.array([low, high]) - expected).max() < 0.25 * values.std()
    assert low < estimate < high


def test_bootstrap_is_deterministic_in_its_seed_and_leaves_the_global_generator_alone() -> None:
    probabilities, labels = predictions(300)
    state = torch.get_rng_state()
    one = bootstrap_ece_interval(probabilities, labels, seed=5)
    assert one == bootstrap_ece_interval(probabilities, labels, seed=5)
    assert one != bootstrap_ece_interval(probabilities, labels, seed=6)
    assert torch.equal(torch.get_rng_state(), state)


def test_bootstrap_in_chunks_is_the_bootstrap_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = predictions(300)
    whole = bootstrap_ece_interval(probabilities, labels, resamples=64)
    monkeypatch.setattr("kdbench.metrics.calibration._CHUNK", 1000)
    assert bootstrap_ece_interval(probabilities, labels, resamples=64) == pytest.approx(whole, abs=1e-12)


def test_bootstrap_narrows_with_n_and_has_no_width_without_variation() -> None:
    small = bootstrap_ece_interval(*predictions(200), resamples=300)
    large = bootstrap_ece_interval(*predictions(20000), resamples=300)
    assert large[1] - large[0] < 0.25 * (small[1] - small[0])
    assert bootstrap_ece_interval(torch.eye(4), torch.arange(4), resamples=10) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_bootstrap_interval_holds_the_estimate(seed: int) -> None:
    probabilities, labels = predictions(100, seed=seed)
    low, high = bootstrap_ece_interval(probabilities, labels, resamples=200, seed=seed)
    assert 0.0 <= low <= expected_calibration_error(probabilities, labels) <= high <= 1.0


HALVES, ZEROS = torch.full((3, 2), 0.5), torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)), "no examples"),
        (lambda: accuracy(torch.zeros(3, 3), torch.zeros(2, dtype=torch.long)), "labels have shape"),
        (lambda: accuracy(torch.zeros(3), ZEROS), "expected floating"),
        (lambda: accuracy(torch.full((3, 2), float("nan")), ZEROS), "not finite"),
        (lambda: expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)), "no examples"),
        (lambda: expected_calibration_error(torch.randn(3, 2), ZEROS), "apply softmax"),
        (lambda: expected_calibration_error(HALVES * float("nan"), ZEROS), "probabilities range"),
        (lambda: expected_calibration_error(HALVES * 0.9, ZEROS), "row sums"),
        (lambda: expected_calibration_error(HALVES, ZEROS[:2]), "labels have shape"),
        (lambda: expected_calibration_error(ZEROS, ZEROS), "expected floating"),
        (lambda: expected_calibration_error(HALVES, ZEROS, bins=0), "bins is 0"),
        (lambda: wilson_interval(0, 0), "0 correct of 0"),
        (lambda: wilson_interval(5, 4), "5 correct of 4"),
        (lambda: wilson_interval(-1, 4), "-1 correct of 4"),
        (lambda: wilson_interval(1, 4, confidence=1.0), "confidence is 1.0"),
        (lambda: bootstrap_ece_interval(HALVES, ZEROS, resamples=0), "resamples is 0"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        call()
