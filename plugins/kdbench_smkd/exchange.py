"""Which targets a peer passes on, and what the other makes of them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

import kdbench
from kdbench_smkd.correction import Prediction, logistic


def _eta(value: Any) -> Any:
    """A number > 0, or "inf", which JSON has no number for."""
    if value in ("inf", math.inf):
        return "inf"
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError("input should be a number greater than 0, or inf")
    return value


Eta = Annotated[
    float | Literal["inf"],
    BeforeValidator(_eta),
    Field(description="strictness, > 0: up to 1, with b2 = 0, everything is passed on; inf: nothing"),
]
Denominator = Annotated[
    Literal["batch-mean", "own", "paper-alg1"],
    Field(description="what the sum over the samples passed on is divided by: the batch size, their number, or the "
          "number of those passed on in the other direction, as the paper's Algorithm 1 prints it"),
]  # fmt: skip


def threshold(progress: float, num_classes: int, eta: float, b2: float) -> float:
    """``chi = (ln C / eta) 2 h(progress - .5, b2)``, in nats: a prediction of lower entropy is passed on.

    ``progress`` is the share of training that is done; b2 = 0 keeps chi constant, b2 < 0 lowers it with time. For
    C = 100, eta = 4 and b2 = -4 chi falls from 2.03 over 1.15 at half time to .27.
    """
    return math.log(num_classes) / eta * 2 * logistic(progress - 0.5, b2)


def passed_on(prediction: Prediction, progress: float, eta: float, b2: float) -> Tensor:
    """Which samples (B,) a peer is sure enough of, bool: all for eta <= 1 and b2 = 0, uniform predictions too."""
    if eta <= 1 and b2 == 0:
        return torch.ones_like(prediction.entropy, dtype=torch.bool)
    return prediction.entropy < threshold(progress, prediction.logits.shape[1], eta, b2)


def received(logits: Tensor, target: Tensor, passed: Tensor, back: Tensor, denominator: str) -> Tensor:
    """The loss, a scalar, of the receiver's logits (B, C) under the giver's targets (B, C), which get no gradient.

    ``passed`` (B,) are the samples that come in and ``back`` (B,) those that the receiver gives. 0 if none comes in.
    """
    terms = torch.where(passed, kdbench.losses.soft_cross_entropy(logits, target.detach()), 0.0)
    if denominator == "batch-mean":
        return terms.mean()
    count = (passed if denominator == "own" else back).sum()
    return terms.sum() / count.clamp(min=1)
