"""Accuracy, calibration and their intervals: pure functions of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from kdbench.errors import KdbenchError

_CHUNK = 2**22  # sampled examples held at once by the bootstrap: about 100 MB


def accuracy(logits_or_predictions: Tensor, labels: Tensor) -> float:
    """Share in [0, 1] of the examples whose predicted class is the label.

    Args:
        logits_or_predictions: floating (N, C), logits or probabilities, of which the largest counts (ties go to the
            lowest class); or integer (N,), predicted classes.
        labels: integer (N,).

    Raises:
        KdbenchError: no examples, shapes that don't match, or values that are not finite.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 0, 0]))
    0.6666666666666666
    """
    _require_labels(labels, len(logits_or_predictions))
    predictions = logits_or_predictions
    if predictions.ndim == 2:
        if not bool(predictions.isfinite().all()):
            raise KdbenchError("logits are not finite", "check the checkpoint for NaN weights")
        predictions = predictions.argmax(dim=1)
    elif predictions.ndim != 1 or predictions.is_floating_point():
        raise KdbenchError(
            f"predictions are {predictions.dtype} of shape {tuple(predictions.shape)}, "
            "expected floating (N, C) or integer (N,)",
            "pass logits, or their argmax",
        )
    return float(predictions.eq(labels.to(predictions.device)).double().mean())


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """The points of a reliability diagram, M bins of equal width over (0, 1]; tensors on the CPU.

    Attributes:
        lower: float64 (M,), open lower edges.
        upper: float64 (M,), closed upper edges.
        count: int64 (M,), examples in the bin.
        accuracy: float64 (M,), share of them that are predicted correctly; 0 in an empty bin.
        confidence: float64 (M,), their mean confidence; 0 in an empty bin.
    """

    lower: Tensor
    upper: Tensor
    count: Tensor
    accuracy: Tensor
    confidence: Tensor

    @property
    def calibration_error(self) -> float:
        """ECE = sum_m |B_m|/N * |acc(B_m) - conf(B_m)|, in [0, 1]."""
        gaps = (self.accuracy - self.confidence).abs() * self.count
        return float(gaps.sum() / self.count.sum())


def reliability_bins(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> ReliabilityBins:
    """Sort the examples by confidence (largest probability) into bins (m/M, (m+1)/M].

    A confidence exactly on an edge belongs to the bin below it, 1.0 to the last; edges are compared in the precision
    of the probabilities, so that a float32 0.2 lies on the edge 1/5. Sums are float64.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: M >= 1.

    Raises:
        KdbenchError: no examples, shapes that don't match, rows that are no probabilities, or bins < 1.
    """
    return confidence_bins(*_confidence_and_correct(probabilities, labels), bins=bins)


def confidence_bins(confidence: Tensor, correct: Tensor, *, bins: int = 15) -> ReliabilityBins:
    """The bins of ``reliability_bins`` from what was kept of each example.

    Args:
        confidence: float32 or float64 (N,), N >= 1, in [0, 1], on the CPU.
        correct: bool (N,), whether the prediction is the label, on the CPU.
        bins: M >= 1.

    Raises:
        KdbenchError: bins < 1.

    >>> confidence_bins(torch.tensor([0.75, 1.0]), torch.tensor([False, True]), bins=4).count.tolist()
    [0, 0, 1, 1]
    """
    where = bin_numbers(confidence, bins)
    count = torch.bincount(where, minlength=bins)
    filled = count.clamp(min=1).double()
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    return ReliabilityBins(
        lower=edges[:-1],
        upper=edges[1:],
        count=count,
        accuracy=torch.bincount(where, weights=correct.double(), minlength=bins) / filled,
        confidence=torch.bincount(where, weights=confidence.double(), minlength=bins) / filled,
    )


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """ECE = sum_m |B_m|/N * |acc(B_m) - conf(B_m)|, in [0, 1] (Guo et al. 2017; empty bins add 0).

    Bins as in ``reliability_bins``. For an ensemble average the probabilities first.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: number of bins M of equal width.

    Raises:
        KdbenchError: as ``reliability_bins``.

    >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [1.0, 0.0]]).double(), torch.tensor([1, 0]))
    0.375
    """
    return reliability_bins(probabilities, labels, bins=bins).calibration_error


def wilson_interval(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, in [0, 1] (Wilson 1927), without continuity correction.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 of n and at n of n.

    Args:
        correct: number of successes, 0 <= correct <= n; a mean over repetitions needs not be whole.
        n: number of trials, >= 1.
        confidence: two-sided coverage, in (0, 1).

    Raises:
        KdbenchError: an argument out of its range.

    >>> tuple(round(bound, 4) for bound in wilson_interval(9, 10))
    (0.5958, 0.9821)
    """
    if n < 1 or not 0 <= correct <= n:
        raise KdbenchError(f"{correct} correct of {n}, expected 0 <= correct <= n and n >= 1", "count examples again")
    _require_confidence(confidence)
    return score_interval(correct / n, n, NormalDist().inv_cdf(0.5 + confidence / 2))


def score_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a share in [0, 1] of n examples, which needs not be whole, for a quantile of whatever
    distribution the doubt has: the normal's for ``wilson_interval``, Student's where a variance was estimated."""
    square = quantile * quantile
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def bootstrap_ece_interval(
    probabilities: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Bootstrap interval of the ECE over examples (Efron & Tibshirani 1993), in [0, 1]; holds the ECE itself.

    Quantiles of the ECE of resamples with replacement, moved by the difference between the ECE and their mean: a sum
    of absolute values grows with the extra noise of resampling, so the plain percentile interval of a well calibrated
    model lies above its estimate. Drawn on the CPU from ``seed`` alone: the same interval on every device.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: number of bins of equal width.
        resamples: number of resamples, >= 1.
        seed: of the resampling.
        confidence: two-sided coverage, in (0, 1).

    Raises:
        KdbenchError: as ``reliability_bins``, or resamples < 1, or a confidence outside (0, 1).
    """
    if resamples < 1:
        raise KdbenchError(f"resamples is {resamples}, expected >= 1", "1000 is usual")
    _require_confidence(confidence)
    peaks, correct = _confidence_and_correct(probabilities, labels)
    where = bin_numbers(peaks, bins)
    gaps = correct.double() - peaks.double()
    estimate = _calibration_error(where, gaps, bins, rows=1)[0]
    generator = torch.Generator().manual_seed(seed)
    n, drawn, values = len(gaps), 0, []
    while drawn < resamples:
        rows = min(resamples - drawn, max(1, _CHUNK // n))
        sample = torch.randint(n, (rows * n,), generator=generator)
        row = torch.arange(rows).repeat_interleave(n)
        values.append(_calibration_error(row * bins + where[sample], gaps[sample], bins, rows))
        drawn += rows
    spread = torch.cat(values)
    tail = (1 - confidence) / 2
    quantiles = torch.quantile(spread, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    low, high = (estimate + quantiles - spread.mean()).clamp(0, 1).tolist()
    return min(low, float(estimate)), max(high, float(estimate))


def _calibration_error(where: Tensor, gaps: Tensor, bins: int, rows: int) -> Tensor:
    """Float64 (rows,) ECEs, from flat cell numbers (row * bins + bin) and correct-minus-confidence of each example.

    |B_m| * |acc - conf| is the absolute sum of the bin's gaps, so no count is needed but that of the row.
    """
    sums = torch.bincount(where, weights=gaps, minlength=rows * bins)
    return sums.view(rows, bins).abs().sum(dim=1) / (len(gaps) / rows)


def bin_numbers(confidence: Tensor, bins: int) -> Tensor:
    """The bin of each confidence, int64 (N,) in [0, M): bin m is (m/M, (m+1)/M], and 0 lies in the first.

    Args:
        confidence: float32 or float64 (N,) on the CPU. Edges are compared in this precision.
        bins: M >= 1.

    Raises:
        KdbenchError: bins < 1.

    >>> bin_numbers(torch.tensor([0.0, 0.5, 0.51]), 2).tolist()
    [0, 0, 1]
    """
    if bins < 1:
        raise KdbenchError(f"bins is {bins}, expected >= 1", "15 is usual")
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(confidence.dtype)
    return torch.bucketize(confidence, edges)  # right=False: an edge belongs to the bin below it


def _confidence_and_correct(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Largest probability, float32 or float64 (N,), and whether it stands on the label, bool (N,), on the CPU."""
    if probabilities.ndim != 2 or not probabilities.is_floating_point():
        raise KdbenchError(
            f"probabilities are {probabilities.dtype} of shape {tuple(probabilities.shape)}, expected floating (N, C)",
            "pass softmax outputs",
        )
    _require_labels(labels, len(probabilities))
    if probabilities.dtype not in (torch.float32, torch.float64):
        probabilities = probabilities.float()
    low, high = (float(bound) for bound in torch.aminmax(probabilities))
    off = float((probabilities.sum(dim=1) - 1).abs().max())
    if not (low >= -1e-6 and high <= 1 + 1e-6 and off <= 1e-2):  # written so that NaN fails too
        raise KdbenchError(
            f"probabilities range over [{low:.4g}, {high:.4g}] with row sums up to {off:.2g} off 1",
            "apply softmax to logits first",
        )
    confidence, predictions = probabilities.max(dim=1)
    # On the CPU, as weighted bincount adds in an order of its own on an accelerator.
    return confidence.cpu(), predictions.eq(labels.to(predictions.device)).cpu()


def _require_labels(labels: Tensor, count: int) -> None:
    if count == 0:
        raise KdbenchError("no examples: nothing can be measured on an empty set", "check the data set's filter")
    if labels.shape != (count,):
        raise KdbenchError(f"labels have shape {tuple(labels.shape)}, expected ({count},)", "pass one per example")


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise KdbenchError(f"confidence is {confidence}, expected between 0 and 1", "e.g. 0.95")
