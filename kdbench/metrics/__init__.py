"""Accuracy, calibration, detection, proper scores and their intervals: pure functions of tensors or NumPy arrays."""

from kdbench.metrics.calibration import (
    ReliabilityBins,
    adaptive_calibration_error,
    bin_numbers,
    bootstrap_ece_interval,
    classwise_calibration_error,
    confidence_bins,
    expected_calibration_error,
    reliability_bins,
)
from kdbench.metrics.correctness import accuracy
from kdbench.metrics.detection import (
    auroc,
    auroc_interval,
    detection_scores,
    false_positive_rate,
    false_positive_rate_interval,
)
from kdbench.metrics.intervals import score_interval, wilson_interval, with_draws
from kdbench.metrics.proper_scores import brier_score, negative_log_likelihood
from kdbench.metrics.temperature import fit_temperature, temperature_scaled_ece

__all__ = [
    "ReliabilityBins",
    "accuracy",
    "adaptive_calibration_error",
    "auroc",
    "auroc_interval",
    "bin_numbers",
    "bootstrap_ece_interval",
    "brier_score",
    "classwise_calibration_error",
    "confidence_bins",
    "detection_scores",
    "expected_calibration_error",
    "false_positive_rate",
    "false_positive_rate_interval",
    "fit_temperature",
    "negative_log_likelihood",
    "reliability_bins",
    "score_interval",
    "temperature_scaled_ece",
    "wilson_interval",
    "with_draws",
]
