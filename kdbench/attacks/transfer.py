"""Transfer attacks: examples made on a source model, judged by a target model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from kdbench.attacks._inputs import PART, check_call, check_pixels, probe
from kdbench.attacks._judge import correct_predictions
from kdbench.attacks._result import conditional_share, share
from kdbench.attacks.best_iterate import BUDGET, Budget, pgd_best_iterate
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256, state_sha256
from kdbench.inference.model import Model
from kdbench.inference.order import mixed_all
from kdbench.inference.prediction import frozen

Keep = Callable[[Mapping[str, object], Callable[[], Tensor]], Tensor]
"""What decides some examples of one source, and what makes them, float32 (n, C, H, W), to those examples: made, or
found again where the same were made before."""


@dataclass(frozen=True, eq=False)
class TransferResult:
    """How a target stands up to examples that were made on a source.

    Attributes:
        clean_correct: bool (N,), the target is right on the unattacked image.
        adversarial_correct: bool (N,), the target is right on the source's adversarial example.
    """

    clean_correct: Tensor
    adversarial_correct: Tensor

    def clean_accuracy(self) -> float:
        """The target's accuracy on the unattacked images."""
        return share(self.clean_correct)

    def accuracy(self) -> float:
        """A(s, t): the target's accuracy on the source's examples, over all N."""
        return share(self.adversarial_correct)

    def conditional_accuracy(self) -> float:
        """R(s, t) = #{clean correct and adversarial correct} / #{clean correct}, both of the target.

        ``KdbenchError`` where the target gets no clean image right.
        """
        return conditional_share(self.adversarial_correct, self.clean_correct)


def transfer(
    source: Model,
    target: Model,
    images: Tensor,
    labels: Tensor,
    *,
    votes: int = 1,
    kept: Keep | None = None,
    **budget: Unpack[Budget],
) -> TransferResult:
    """One cell (s, t) of a transfer matrix: ``pgd_best_iterate`` on the source with true labels, judged by the target.

    Setting of Katz & Reches 2022, Table 3. With ``source is target`` it is the white-box diagonal. For a whole matrix,
    make the examples of each source once with ``pgd_best_iterate`` and judge them with ``judge_transfer``.

    Args:
        source: model that the examples are made on.
        target: model that judges them.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        votes: as in ``judge_transfer``.
        kept: where the source's examples are kept, for a module that is not random; None: they are made.
        budget: eps, step_size, steps, batch_size and gradient_draws of ``pgd_best_iterate``, with its defaults.

    Raises:
        KdbenchError: as ``pgd_best_iterate``, for either model.
    """
    size = budget.get("batch_size")
    labels = check_call(images, labels, batch_size=size)
    found = TransferResult(*(torch.zeros_like(labels, dtype=torch.bool) for _ in range(2)))
    with frozen(source, images) as fast, frozen(target, images) as judge:
        for part in torch.split(mixed_all(len(images), images.device), PART):
            part = part.sort().values
            some, truth = images[part], labels[part]
            make = partial(pgd_best_iterate, fast, some, truth, **budget)
            examples = make() if kept is None else kept(_decisive(fast, some, truth, budget), make)
            cell = judge_transfer(judge, some, examples, truth, batch_size=size, votes=votes)
            found.clean_correct[part] = cell.clean_correct
            found.adversarial_correct[part] = cell.adversarial_correct
    return found


def _decisive(source: Model, images: Tensor, labels: Tensor, budget: Budget) -> dict[str, object]:
    """What decides the bits of the source's examples, beside the code and the machine; the attack draws nothing."""
    if not isinstance(source, nn.Module):
        raise KdbenchError(
            f"the examples of a {type(source).__name__} can't be kept, as its weights are not known",
            "keep those of a torch module",
        )
    size = probe(source, images, labels, budget.get("batch_size")).batch_size
    return {
        "attack": "pgd_best_iterate",
        "budget": {**BUDGET, **budget, "batch_size": size},
        "weights": state_sha256(source.state_dict()),
        "images": state_sha256({"images": images}),
        "strides": images.stride(),
        "labels": integers_sha256(labels),
    }


def judge_transfer(
    target: Model, images: Tensor, examples: Tensor, labels: Tensor, *, batch_size: int | None = None, votes: int = 1
) -> TransferResult:
    """Judge ready-made adversarial examples by a target model.

    Args:
        target: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes).
        images: float32 (N, C, H, W) in [0, 1], or uint8: the unattacked images.
        examples: float32, like images: their adversarial versions.
        labels: integer (N,), the true classes.
        batch_size: images per forward pass; None: what the memory allows.
        votes: fresh forward passes whose majority is the target's answer, for one that is random at test time.

    Raises:
        KdbenchError: shapes that don't match, or logits of a wrong shape or not finite.
    """
    labels = check_call(images, labels, batch_size=batch_size, votes=votes)
    check_pixels(examples)
    if images.shape != examples.shape:
        raise KdbenchError(
            f"examples have shape {tuple(examples.shape)}, the images {tuple(images.shape)}", "pass one per image"
        )
    with frozen(target, images) as fast:
        facts = probe(fast, images, labels, batch_size)
        return TransferResult(
            clean_correct=correct_predictions(fast, images, labels, probe=facts, votes=votes),
            adversarial_correct=correct_predictions(fast, examples, labels, probe=facts, votes=votes),
        )
