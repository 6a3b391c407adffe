"""Scores whose expectation only the true probabilities minimise."""

from __future__ import annotations

import torch.nn.functional as F

from kdbench.metrics._inputs import Array, as_labels, as_logits, as_probabilities


def brier_score(probabilities: Array, labels: Array) -> float:
    """Mean of sum_c (p_c - [c is the label])^2, in [0, 2] (Brier 1950); 0 is best.

    Args:
        probabilities: floating (N, C) in [0, 1], rows that sum to 1.
        labels: integer (N,).

    Raises:
        KdbenchError: no examples, shapes that don't match, rows that are no probabilities, labels that are no classes.

    >>> import numpy as np
    >>> brier_score(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1]))
    1.25
    """
    checked = as_probabilities(probabilities).cpu().double()
    truth = as_labels(labels, *checked.shape).cpu()
    return float((checked - F.one_hot(truth, checked.shape[1])).square().sum(dim=1).mean())


def negative_log_likelihood(logits: Array, labels: Array) -> float:
    """Mean of -log softmax(logits)_label, in nats, from 0; computed in float64.

    Args:
        logits: floating (N, C), finite; not probabilities, whose logarithm loses what rounding took.
        labels: integer (N,).

    Raises:
        KdbenchError: no examples, shapes that don't match, logits that are not finite, labels that are no classes.

    >>> import numpy as np
    >>> round(negative_log_likelihood(np.array([[0.0, 0.0]]), np.array([1])), 6)
    0.693147
    """
    checked = as_logits(logits)
    return float(F.cross_entropy(checked, as_labels(labels, *checked.shape).cpu()))
