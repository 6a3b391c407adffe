"""The share of examples whose predicted class is right."""

from __future__ import annotations

import torch

from kdbench.devices import float64
from kdbench.errors import KdbenchError
from kdbench.metrics._inputs import Array, as_labels, as_tensor


def accuracy(logits_or_predictions: Array, labels: Array) -> float:
    """Share in [0, 1] of the examples whose predicted class is the label.

    Args:
        logits_or_predictions: floating (N, C), logits or probabilities, of which the largest counts (ties go to the
            lowest class); or integer (N,), predicted classes.
        labels: integer (N,).

    Raises:
        KdbenchError: no examples, shapes that don't match, labels that are no classes, or values that are not finite.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 0, 0]))
    0.6666666666666666
    """
    predictions = as_tensor(logits_or_predictions, "predictions")
    classes = predictions.shape[1] if predictions.ndim == 2 else None
    truth = as_labels(labels, len(predictions), classes)
    if predictions.ndim == 2:
        if not bool(predictions.isfinite().all()):
            raise KdbenchError("logits are not finite", "check the checkpoint for NaN weights")
        predictions = predictions.argmax(dim=1)
    elif predictions.ndim != 1 or predictions.is_floating_point() or predictions.dtype == torch.bool:
        raise KdbenchError(
            f"predictions are {predictions.dtype} of shape {tuple(predictions.shape)}, "
            "expected floating (N, C) or integer (N,)",
            "pass logits, or their argmax",
        )
    return float(float64(predictions.eq(truth.to(predictions.device))).mean())
