"""How far confidence and accuracy are apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.metrics._inputs import (
    Array,
    as_confidence,
    as_correct,
    as_labels,
    as_probabilities,
    confidence_and_correct,
    require_bins,
)
from kdbench.metrics.intervals import require_confidence

_CHUNK = 2**17  # sampled examples held at once by the bootstrap: about 3 MB, which a cache holds


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


def reliability_bins(probabilities: Array, labels: Array, *, bins: int = 15) -> ReliabilityBins:
    """Sort the examples by confidence (largest probability) into bins (m/M, (m+1)/M].

    A confidence exactly on an edge belongs to the bin below it, 1.0 to the last; edges are compared in the precision
    of the probabilities, so that a float32 0.2 lies on the edge 1/5. Sums are float64.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: M >= 1.

    Raises:
        KdbenchError: no examples, shapes that don't match, rows that are no probabilities, labels that are no
            classes, or bins < 1.
    """
    return confidence_bins(*confidence_and_correct(probabilities, labels), bins=bins)


def confidence_bins(confidence: Array, correct: Array, *, bins: int = 15) -> ReliabilityBins:
    """The bins of ``reliability_bins`` from what was kept of each example.

    Args:
        confidence: float32 or float64 (N,), N >= 1, in [0, 1], on the CPU.
        correct: bool (N,), whether the prediction is the label, on the CPU.
        bins: M >= 1.

    Raises:
        KdbenchError: an argument of another dtype or shape, or out of its range.

    >>> confidence_bins(torch.tensor([0.75, 1.0]), torch.tensor([False, True]), bins=4).count.tolist()
    [0, 0, 1, 1]
    """
    confidence = as_confidence(confidence)
    correct, where = as_correct(correct, confidence.shape), bin_numbers(confidence, bins)
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


def expected_calibration_error(probabilities: Array, labels: Array, *, bins: int = 15) -> float:
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


def adaptive_calibration_error(probabilities: Array, labels: Array, *, bins: int = 15) -> float:
    """ECE over bins of equally many examples instead of equal width, in [0, 1] (Nguyen & O'Connor 2015).

    An edge is the confidence below which m/M of the examples lie, and belongs to the bin below it. Equal confidences
    share a bin, so that the order of the examples does not matter.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: number of bins M, >= 1.

    Raises:
        KdbenchError: as ``reliability_bins``.

    >>> import numpy as np
    >>> adaptive_calibration_error(np.array([[0.8, 0.2], [0.75, 0.25], [1.0, 0.0]]), np.array([0, 0, 1]), bins=1)
    0.18333333333333335
    """
    confidence, correct = confidence_and_correct(probabilities, labels)
    require_bins(bins)
    last = -(torch.arange(1, bins) * -len(confidence) // bins) - 1  # rounded up; exact, as floating point is not
    edges = confidence.sort().values[last.clamp(min=0)]
    where = torch.bucketize(confidence, edges)  # right=False: an edge belongs to the bin below it
    gaps = correct.double() - confidence.double()
    return float(_calibration_error(where, gaps, bins, rows=1)[0])


def classwise_calibration_error(probabilities: Array, labels: Array, *, bins: int = 15) -> float:
    """Mean over classes of the ECE of that class's probability, in [0, 1] (Kull et al. 2019, "classwise-ECE").

    1/C sum_c sum_m |B_mc|/N * |share of class c in B_mc - mean p_c in B_mc|, bins of equal width over p_c as in
    ``bin_numbers``: unlike the ECE it looks at every probability, not at the largest alone.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).
        bins: number of bins M of equal width, >= 1.

    Raises:
        KdbenchError: as ``reliability_bins``.

    >>> import numpy as np
    >>> classwise_calibration_error(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))
    0.25
    """
    checked = as_probabilities(probabilities).cpu()
    count, classes = checked.shape
    truth = as_labels(labels, count, classes).cpu()
    cells = torch.arange(classes) * bins + bin_numbers(checked, bins)
    gaps = torch.nn.functional.one_hot(truth, classes).double() - checked.double()
    sums = torch.bincount(cells.flatten(), weights=gaps.flatten(), minlength=classes * bins)
    return float(sums.abs().sum() / (count * classes))


def bootstrap_ece_interval(
    probabilities: Array,
    labels: Array,
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
    require_confidence(confidence)
    peaks, correct = confidence_and_correct(probabilities, labels)
    where = bin_numbers(peaks, bins)
    gaps = correct.double() - peaks.double()
    estimate = _calibration_error(where, gaps, bins, rows=1)[0]
    generator = torch.Generator().manual_seed(seed)
    n, drawn, values = len(gaps), 0, []
    while drawn < resamples:
        rows = min(resamples - drawn, max(1, _CHUNK // n))
        sample = torch.randint(n, (rows * n,), generator=generator)
        cells = where.index_select(0, sample).view(rows, n) + torch.arange(rows)[:, None] * bins
        values.append(_calibration_error(cells.flatten(), gaps.index_select(0, sample), bins, rows))
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


def bin_numbers(confidence: Array, bins: int) -> Tensor:
    """The bin of each confidence, int64 (N,) in [0, M): bin m is (m/M, (m+1)/M], and 0 lies in the first.

    Args:
        confidence: float32 or float64 (N,), or (S, N), on the CPU. Edges are compared in this precision.
        bins: M >= 1.

    Raises:
        KdbenchError: an argument of another dtype, or out of its range.

    >>> bin_numbers(torch.tensor([0.0, 0.5, 0.51]), 2).tolist()
    [0, 0, 1]
    """
    require_bins(bins)
    found = as_confidence(confidence)
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(found.dtype)
    return torch.bucketize(found, edges)  # right=False: an edge belongs to the bin below it
