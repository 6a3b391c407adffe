"""What gradient attacks ascend: a number per image that grows as the classifier errs.

Each function takes logits (n, classes), the true classes int64 (n,) and the target classes int64 (n,), and returns
(n,). z_y is the logit of the true class, z_t that of the target, z_(1) >= z_(2) >= ... the logits in order. The
untargeted ones do not look at the targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import KdbenchError, unknown_name

TINY = 1e-12
"""Added to DLR's denominators, as in AutoAttack's code: equal logits must not divide by zero."""


@dataclass(frozen=True)
class Objective:
    """A function to ascend, and what it needs."""

    name: str
    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    classes: int = 2
    """Logits that it compares: a model must have as many."""
    targeted: bool = False
    """Whether it looks at the target classes."""

    def check(self, classes: int, targets: Tensor | None) -> None:
        """Refuse a model of too few classes, and targets that are missing, not meant, or no class of the model.

        Raises:
            KdbenchError: one of these.
        """
        if classes < self.classes:
            raise KdbenchError(
                f"objective '{self.name}' compares {self.classes} logits, the model has {classes}",
                "choose another objective, e.g. cross-entropy",
            )
        if self.targeted and targets is None:
            raise KdbenchError(f"objective '{self.name}' needs target classes", "pass targets=, one class per image")
        if targets is not None and not self.targeted:
            raise KdbenchError(
                f"objective '{self.name}' does not look at targets",
                f"choose targeted-{self.name}, or leave targets out",
            )
        highest = -1 if targets is None else int(targets.max())
        if highest >= classes:
            raise KdbenchError(f"target {highest} found, but the model has {classes} classes", "aim at one that it has")


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-log softmax_y.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([0]), torch.tensor([0])).exp().tolist()
    [4.0]
    """
    return F.cross_entropy(logits, labels, reduction="none")


def targeted_cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """log softmax_t."""
    return -F.cross_entropy(logits, targets, reduction="none")


def margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y: positive where the classifier errs (Carlini & Wagner 2017, f_6, its sign turned).

    Not clamped: their confidence kappa is infinite, so that the attack goes on behind the border.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), torch.tensor([0])).tolist()
    [-1.0]
    """
    return _largest_but(logits, labels) - _of(logits, labels)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - max_{j != t} z_j: positive where the classifier answers the target. Not clamped."""
    return _of(logits, targets) - _largest_but(logits, targets)


def dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """(max_{j != y} z_j - z_y) / (z_(1) - z_(3)): invariant to shift and scale (Croce & Hein 2020, equation 6).

    >>> dlr(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), torch.tensor([0])).tolist()
    [-0.5]
    """
    ordered = logits.sort(dim=1, descending=True).values
    return margin(logits, labels, targets) / (ordered[:, 0] - ordered[:, 2] + TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2) (Croce & Hein 2020, equation 7)."""
    ordered = logits.sort(dim=1, descending=True).values
    spread = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
    return (_of(logits, targets) - _of(logits, labels)) / (spread + TINY)


OBJECTIVES = {
    one.name: one
    for one in (
        Objective("cross-entropy", cross_entropy),
        Objective("margin", margin),
        Objective("dlr", dlr, classes=3),
        Objective("targeted-cross-entropy", targeted_cross_entropy, targeted=True),
        Objective("targeted-margin", targeted_margin, targeted=True),
        Objective("targeted-dlr", targeted_dlr, classes=4, targeted=True),
    )
}


def objective_of(objective: str | Objective) -> Objective:
    """The objective of that name, or the one that is given.

    Raises:
        KdbenchError: no such name; the nearest right one is named.
    """
    if isinstance(objective, Objective):
        return objective
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    return OBJECTIVES[objective]


def likeliest_wrong(logits: Tensor, labels: Tensor, rank: int) -> Tensor:
    """Int64 (n,): the class with the ``rank``-th largest logit (from 0, in turn) among those that are not true.

    >>> likeliest_wrong(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), 1).tolist()
    [1]
    """
    others = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True)
    return others[:, rank % (logits.shape[1] - 1)]


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _largest_but(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.scatter(1, classes[:, None], -torch.inf).max(dim=1).values
