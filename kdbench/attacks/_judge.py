"""Whether a model is right on images, attacked or not: judged here, in float32, whatever an attack says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.attacks._inputs import Probe
from kdbench.errors import KdbenchError
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import over_all


def require_finite(finite: bool) -> None:
    """Raise when an attack met logits or gradients that are not numbers: nothing can be concluded from them.

    Raises:
        KdbenchError: ``finite`` is False.
    """
    if not finite:
        raise KdbenchError(
            "the model gave logits or input gradients that are not finite under attack",
            "check the checkpoint for NaN weights and the model for divisions and logarithms of zero",
        )


def judge(model: Model, images: Tensor, labels: Tensor, *, votes: int = 1) -> Tensor:
    """Bool (n,): the model's class is the true one; float32 (n, C, H, W) in [0, 1] and int64 (n,).

    With ``votes`` above 1, for a model that is random at test time, the class with the most votes over so many fresh
    forward passes. Ties, of logits as of votes, go to the lowest class index.

    Raises:
        KdbenchError: logits that are not finite.
    """
    with torch.no_grad():
        logits = model(images)
        finite, answers = logits.isfinite().all(), logits.argmax(dim=1)
        if votes > 1:
            ballots = F.one_hot(answers, logits.shape[1])
            for _ in range(votes - 1):
                logits = model(images)
                finite &= logits.isfinite().all()
                ballots += F.one_hot(logits.argmax(dim=1), logits.shape[1])
            answers = ballots.argmax(dim=1)
    require_finite(bool(finite))  # one look at the end, as each waits for the device
    return answers.eq(labels)


def correct_predictions(model: Model, images: Tensor, labels: Tensor, *, probe: Probe, votes: int = 1) -> Tensor:
    """Bool (N,): ``judge`` over many images, uint8 or float32 (N, C, H, W), in batches of the mixed order."""

    def part_of(part: Tensor) -> Tensor:
        return judge(model, as_float(images[part]), labels[part], votes=votes)

    return over_all(part_of, len(images), probe.batch_size, images.device)
