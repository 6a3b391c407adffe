"""AutoAttack and its first half (Croce & Hein 2020), by the package pyautoattack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from kdbench.attacks.libraries import installation
from kdbench.attacks.libraries.guard import Guarded, inside_library
from kdbench.attacks.spec import AttackContext, attack
from kdbench.errors import KdbenchError
from kdbench.inference.model import Model

PAPER = "https://arxiv.org/abs/2003.01690"
RAND = ("apgd-ce", "apgd-dlr")
"""AutoAttack's version for a model that is random at test time, each gradient the mean of several draws."""
STANDARD_CLASSES = 4
"""Logits that the targeted DLR loss of version standard compares; that of version rand makes do with three."""
TARGETS = 9
"""Classes that the targeted attacks aim at, the likeliest first, where there are as many."""


class _Tier:
    """A sequence of AutoAttack's attacks, each configured as AutoAttack configures it.

    With all images in one batch the examples are those of ``AutoAttack.run_standard_evaluation``.
    """

    attacks: ClassVar[tuple[str, ...]] = ()

    def stages(self, draws: int) -> Sequence[str]:
        return RAND if draws > 1 else self.attacks

    def __call__(self, model: Model, images: Tensor, labels: Tensor, ctx: AttackContext) -> Any:
        needed = 3 if ctx.draws > 1 else STANDARD_CLASSES
        if ctx.num_classes < needed:
            raise KdbenchError(
                f"AutoAttack needs {needed} classes, found {ctx.num_classes}",
                "its DLR loss compares so many logits: use an attack with another loss",
            )
        # The library turns gradients on where it needs them.
        with inside_library(f"autoattack, {ctx.stage}", ctx.seed, images.device), torch.no_grad():
            return _stage(Guarded(model), ctx, images.device)(images, labels)


def _stage(model: Guarded, ctx: AttackContext, device: torch.device) -> Callable[[Tensor, Tensor], Any]:
    """One attack: images and labels to what the library makes of them; targets are no more than there are."""
    version = "rand" if ctx.draws > 1 else "standard"
    made = installation.autoattack().AutoAttack(
        model, norm="Linf", eps=ctx.eps, seed=ctx.seed, device=device, version=version
    )
    made.fab.targeted = True
    made.fab.n_target_classes = made.apgd_targeted.n_target_classes = min(TARGETS, ctx.num_classes - 1)
    if ctx.draws > 1:
        made.apgd.eot_iter = ctx.draws

    def perturb(loss: str, images: Tensor, labels: Tensor) -> Any:
        made.apgd.loss = loss
        return made.apgd.perturb(images, labels)

    known: dict[str, Callable[[Tensor, Tensor], Any]] = {
        "apgd-ce": partial(perturb, "ce"),
        "apgd-dlr": partial(perturb, "dlr"),
        "apgd-t": made.apgd_targeted.perturb,
        "fab-t": made.fab.perturb,
        "square": made.square.perturb,
    }
    return known[ctx.stage]


class _AutoAttack(_Tier):
    """AutoAttack: APGD-CE, targeted APGD-DLR, targeted FAB and Square (Croce & Hein 2020, version standard).

    A model that is random at test time gets version rand: APGD-CE and APGD-DLR with averaged gradients.
    """

    attacks = ("apgd-ce", "apgd-t", "fab-t", "square")


class _APGD(_Tier):
    """The first half of AutoAttack, APGD-CE and targeted APGD-DLR, which finds nearly all that the whole does.

    It takes a small part of the time. A model that is random at test time gets AutoAttack's version rand.
    """

    attacks = ("apgd-ce", "apgd-t")


def _installed() -> None:
    """Raise ``KdbenchError`` where pyautoattack is not installed."""
    installation.autoattack()


_registered = partial(
    attack,
    paper=PAPER,
    restarts=None,
    averages=True,
    requires=_installed,
    least_classes=lambda params: STANDARD_CLASSES,
)
apgd = _registered("apgd")(_APGD)
autoattack = _registered("autoattack", gradient_free=True)(_AutoAttack)
