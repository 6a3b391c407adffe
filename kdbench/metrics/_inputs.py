"""What every metric checks of its arguments: a wrong label is an error, never a slightly wrong number."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdbench.errors import KdbenchError

Array = Tensor | NDArray[np.generic]
"""A tensor on any device, or a NumPy array."""


def as_tensor(values: Array, name: str) -> Tensor:
    """A tensor of the same numbers, detached; the memory is shared where it can be.

    Raises:
        KdbenchError: it is neither a tensor nor a NumPy array of numbers.
    """
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        # torch knows no other byte order or precision, no unsigned integers beyond 8 bits and no negative strides.
        precision = np.float32 if values.dtype.itemsize <= 4 else np.float64
        known = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": precision}[values.dtype.kind]
        return torch.from_numpy(np.ascontiguousarray(values, dtype=known))
    what = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
    raise KdbenchError(f"{name} found {what}, expected a tensor or a NumPy array of numbers", "convert it first")


def as_labels(labels: Array, count: int, classes: int | None) -> Tensor:
    """Labels, int64 (count,), all of which are classes; ``classes`` None: how many there are is not known.

    Raises:
        KdbenchError: no examples, another shape, no integers, or a label that is no class.
    """
    if count == 0:
        raise KdbenchError("no examples: nothing can be measured on an empty set", "check the data set's filter")
    found = as_tensor(labels, "labels")
    if found.shape != (count,):
        raise KdbenchError(f"labels have shape {tuple(found.shape)}, expected ({count},)", "pass one per example")
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise KdbenchError(f"labels are {found.dtype}, expected integers", "pass class indices")
    low, high = (int(bound) for bound in torch.aminmax(found))
    if low < 0 or (classes is not None and high >= classes):
        expected = "0 or more" if classes is None else f"0 to {classes - 1}"
        wrong = low if low < 0 else high
        raise KdbenchError(f"label {wrong} found, expected {expected}", "leave examples without a label out")
    return found.long()


def as_probabilities(values: Array) -> Tensor:
    """Probabilities, float32 or float64 (N, C), whose rows sum to 1.

    Raises:
        KdbenchError: another shape or dtype, or rows that are no probabilities.
    """
    found = as_tensor(values, "probabilities")
    if found.ndim != 2 or not found.is_floating_point():
        raise KdbenchError(
            f"probabilities are {found.dtype} of shape {tuple(found.shape)}, expected floating (N, C)",
            "pass softmax outputs",
        )
    if found.dtype not in (torch.float32, torch.float64):
        found = found.float()
    if len(found) == 0:
        raise KdbenchError("no examples: nothing can be measured on an empty set", "check the data set's filter")
    low, high = (float(bound) for bound in torch.aminmax(found))
    off = float((found.sum(dim=1) - 1).abs().max())
    if not (low >= -1e-6 and high <= 1 + 1e-6 and off <= 1e-2):  # written so that NaN fails too
        raise KdbenchError(
            f"probabilities range over [{low:.4g}, {high:.4g}] with row sums up to {off:.2g} off 1",
            "apply softmax to logits first",
        )
    return found


def as_logits(values: Array) -> Tensor:
    """Logits, float64 (N, C), on the CPU.

    Raises:
        KdbenchError: another shape or dtype, no examples, or values that are not finite.
    """
    found = as_tensor(values, "logits")
    if found.ndim != 2 or not found.is_floating_point() or len(found) == 0:
        raise KdbenchError(
            f"logits are {found.dtype} of shape {tuple(found.shape)}, expected floating (N, C)", "pass one row each"
        )
    if not bool(found.isfinite().all()):
        raise KdbenchError("logits are not finite", "check the checkpoint for NaN weights")
    return found.cpu().double()


def as_confidence(values: Array) -> Tensor:
    """Largest probabilities, float32 or float64, of any shape.

    Raises:
        KdbenchError: no examples, no floating point, or values outside [0, 1].
    """
    found = as_tensor(values, "confidence")
    if found.dtype not in (torch.float32, torch.float64) or found.numel() == 0:
        what = f"confidence is {found.dtype} of shape {tuple(found.shape)}, expected float32 or float64, one an example"
        raise KdbenchError(what, "pass the largest softmax output of each")
    low, high = (float(bound) for bound in torch.aminmax(found))
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # written so that NaN fails too
        raise KdbenchError(f"confidence ranges over [{low:.4g}, {high:.4g}], expected [0, 1]", "divide percents by 100")
    return found


def as_correct(values: Array, shape: torch.Size) -> Tensor:
    """Whether each answer is right, bool of a shape. Raises ``KdbenchError`` for another dtype or shape."""
    found = as_tensor(values, "correct")
    if found.dtype != torch.bool or found.shape != shape:
        what = f"correct is {found.dtype} of shape {tuple(found.shape)}, expected bool of shape {tuple(shape)}"
        raise KdbenchError(what, "pass predictions == labels")
    return found


def require_bins(bins: int) -> None:
    """Raise ``KdbenchError`` for what is no number of bins."""
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 1:
        raise KdbenchError(f"bins is {bins}, expected a whole number >= 1", "15 is usual")


def confidence_and_correct(probabilities: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """Largest probability, float32 or float64 (N,), and whether it stands on the label, bool (N,), on the CPU.

    Raises:
        KdbenchError: as ``as_probabilities`` and ``as_labels``.
    """
    checked = as_probabilities(probabilities)
    truth = as_labels(labels, len(checked), checked.shape[1])
    confidence, predictions = checked.max(dim=1)
    # On the CPU, as weighted bincount adds in an order of its own on an accelerator.
    return confidence.cpu(), predictions.eq(truth.to(predictions.device)).cpu()
