"""Temperature scaling (Guo et al. 2017): one number, fitted on held-out examples, scales all logits."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.metrics._inputs import Array, as_labels, as_logits
from kdbench.metrics.calibration import expected_calibration_error

LIMITS = (0.01, 100.0)
"""Temperatures that are looked at."""


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature T in [.01, 100] that minimises the negative log-likelihood of softmax(logits / T).

    The loss is convex in 1/T, so its derivative, sum_c softmax(z / T)_c z_c - z_label on average, has one zero; where
    it has none inside (every label has the largest logit, say) T is the end that the loss falls to.

    Args:
        logits: floating (N, C), finite, of examples that are neither trained nor tested on.
        labels: integer (N,).

    Raises:
        KdbenchError: as ``negative_log_likelihood``.

    >>> import numpy as np
    >>> logits = np.log(np.array([[0.9, 0.1]] * 10))
    >>> round(fit_temperature(2 * logits, np.array([0] * 9 + [1])), 6)
    2.0
    """
    from scipy.optimize import brentq  # half a second, and every command that loads the tasks would pay it

    checked = as_logits(logits)
    truth = as_labels(labels, *checked.shape).cpu()
    target = checked.gather(1, truth[:, None]).mean()

    def slope(inverse: float) -> float:
        expected = (checked.mul(inverse).softmax(dim=1) * checked).sum(dim=1).mean()
        return float(expected - target)

    low, high = 1 / LIMITS[1], 1 / LIMITS[0]
    if slope(low) >= 0:
        return LIMITS[1]
    if slope(high) <= 0:
        return LIMITS[0]
    return 1 / float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))


def temperature_scaled_ece(
    logits: Array, labels: Array, held_out_logits: Array, held_out_labels: Array, *, bins: int = 15
) -> float:
    """ECE at the temperature that was fitted on other examples, in [0, 1]: what is left when one number is corrected.

    Args:
        logits: floating (N, C), of the test examples.
        labels: integer (N,).
        held_out_logits: floating (M, C), of examples that are neither trained nor tested on.
        held_out_labels: integer (M,).
        bins: as for ``expected_calibration_error``.

    Raises:
        KdbenchError: as ``fit_temperature`` and ``expected_calibration_error``.
    """
    scaled: Tensor = as_logits(logits) / fit_temperature(held_out_logits, held_out_labels)
    return expected_calibration_error(torch.softmax(scaled, dim=1), labels, bins=bins)
