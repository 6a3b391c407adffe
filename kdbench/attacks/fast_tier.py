"""A fast tier of AutoAttack: targeted Auto-PGD alone, at the nearest classes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from kdbench.attacks.auto_pgd import auto_pgd
from kdbench.attacks.nearest_targets import nearest_targets
from kdbench.attacks.objective import OBJECTIVES
from kdbench.attacks.spec import AttackContext, attack
from kdbench.inference.model import Model

OBJECTIVE = OBJECTIVES["targeted-dlr"]


class _FastTier:
    """A fast tier of AutoAttack: its targeted attack alone, Auto-PGD on DLR, at the nearest classes first.

    Which wrong classes are near is told by gradients, and not by logits: MALT (Melamed, Yehudai & Shamir 2024). An
    image leaves as soon as it is broken, and each target's Auto-PGD (Croce & Hein 2020) begins at the same random point
    of the ball. What FAB and Square alone would find is not found; on some images that still stand task ``attack`` runs
    the whole of AutoAttack and says where it disagrees.
    """

    def __init__(
        self,
        *,
        targets: Annotated[int, Field(ge=1, description="wrong classes that are aimed at, the nearest first")] = 4,
        steps: Annotated[int, Field(ge=1, description="of Auto-PGD at each target; AutoAttack takes 100")] = 100,
    ) -> None:
        self._count, self._steps = targets, steps
        self._targets: dict[int, Tensor] = {}
        """Of each image, by its place: found at the first target, when it is unattacked."""

    def stages(self, draws: int) -> Sequence[str]:
        return [f"target {rank + 1}" for rank in range(self._count)]

    def __call__(self, model: Model, images: Tensor, labels: Tensor, ctx: AttackContext) -> Tensor:
        rank, places = self.stages(ctx.draws).index(ctx.stage), ctx.index.tolist()
        if any(place not in self._targets for place in places):
            self._targets |= zip(places, nearest_targets(model, images, labels, self._count), strict=True)
        if rank >= ctx.num_classes - 1:
            return images
        targets = torch.stack([self._targets[place][rank] for place in places])
        begin = ctx.uniform(images)
        return auto_pgd(
            model, images, labels, begin, eps=ctx.eps, steps=self._steps, objective=OBJECTIVE, targets=targets
        )


autoattack_fast = attack(
    "autoattack-fast",
    paper="https://arxiv.org/abs/2407.02240",
    restarts=None,
    batch_size=None,
    tier_of="autoattack",
    least_classes=lambda params: OBJECTIVE.classes,
)(_FastTier)
