"""Auto-PGD (Croce & Hein 2020, algorithm 1, L-infinity): momentum, and a step size that halves itself.

Its images are independent of each other, so that those that are broken already leave. The first step counts as a rise
where it rose from the start, as in the paper; the authors' code compares it with 0. All else is as in their code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.attacks.objective import Objective
from kdbench.attacks.trajectory import Ascent, Trajectory
from kdbench.devices import widest
from kdbench.inference.model import Model

MOMENTUM = 0.75
"""Share of the plain step; the rest is what the step before moved (alpha)."""
RISING = 0.75
"""Share of the steps since the last checkpoint that must have risen, or the step size is halved (rho)."""
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06
"""Shares of all steps: to the first checkpoint, by how much the next period is shorter, and the shortest."""
LOOKS = 4
"""Steps between two looks at which images are broken, each of which waits for the device; after each of the first ones,
where most of a plain network's images break."""


def checkpoints(steps: int) -> dict[int, int]:
    """Steps after which the step size is looked at, and how many since the one before, in whole steps as in its code.

    >>> checkpoints(100)
    {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
    """
    period, at, found = max(int(FIRST * steps), 1), 0, {}
    while at + period <= steps:
        at += period
        found[at] = period
        period = max(period - max(int(SHORTER * steps), 1), max(int(SHORTEST * steps), 1))
    return found


class _Way(Trajectory):
    """A batch of images on Auto-PGD's way: ``look``, then ``note`` what it saw, then ``step``."""

    PER_IMAGE = ("_before", "_size", "_value", "_highest", "_checked", "_best", "_best_gradient", "_rises", "_halved",
                 "found", "broken")  # fmt: skip

    def __init__(
        self, model: Model, origin: Tensor, labels: Tensor, start: Tensor, ascent: Ascent, targets: Tensor | None
    ) -> None:
        super().__init__(model, origin, labels, start, ascent, targets)
        count, device = len(start), start.device
        self._taken = 0
        self._before = self._best = self._best_gradient = self.found = start
        self._size = torch.full((count, 1, 1, 1), 2 * ascent.eps, device=device)
        self._value = self._highest = self._checked = widest(torch.full((count,), -torch.inf, device=device))
        self._rises = torch.zeros(count, dtype=torch.int64, device=device)
        self._halved = torch.ones(count, dtype=torch.bool, device=device)
        self.broken = torch.zeros_like(self._halved)

    def note(self, logits: Tensor) -> None:
        """Take the logits at the present iterate: whether they err, and how the objective does."""
        assert self._gradient is not None
        value, wrong = self.value(logits), logits.argmax(dim=1).ne(self._labels)
        self.found = torch.where((wrong & ~self.broken)[:, None, None, None], self.images, self.found)
        self.broken = self.broken | wrong
        self._rises = self._rises + (value > self._value)
        higher = value > self._highest
        self._highest = torch.where(higher, value, self._highest)
        higher = higher[:, None, None, None]
        self._best = torch.where(higher, self.images, self._best)
        self._best_gradient = torch.where(higher, self._gradient, self._best_gradient)
        self._value = value
        if self._taken == 0:
            self._checked, self._rises = value, torch.zeros_like(self._rises)

    def halve(self, period: int) -> None:
        """At a checkpoint: where too few of ``period`` steps rose, or they gained nothing at a step size that the last
        checkpoint kept, half the step size and go back to the best iterate."""
        assert self._gradient is not None
        self._halved = (self._rises <= RISING * period) | (~self._halved & (self._checked >= self._highest))
        self._checked, self._rises = self._highest, torch.zeros_like(self._rises)
        mask = self._halved[:, None, None, None]
        self._size = torch.where(mask, self._size / 2, self._size)
        self.images = torch.where(mask, self._best, self.images)
        self._gradient = torch.where(mask, self._best_gradient, self._gradient)

    def step(self) -> None:
        """x + a (z - x) + (1 - a) (x - x_before), z the plain step, each clipped to the ball; a is 1 at the first."""
        assert self._gradient is not None
        present, share = self.images, MOMENTUM if self._taken else 1.0
        plain = self._clip(present + self._size * self._gradient.sign())
        self.images = self._clip(present + (plain - present) * share + (present - self._before) * (1 - share))
        self._before = present
        self._taken += 1

    def keep(self, index: Tensor) -> None:
        super().keep(index)
        for name in self.PER_IMAGE:
            setattr(self, name, getattr(self, name)[index])

    def candidates(self) -> Tensor:
        """Of each image the first iterate that broke it, else the best one."""
        return torch.where(self.broken[:, None, None, None], self.found, self._best)

    def _clip(self, images: Tensor) -> Tensor:
        return images.clamp(self._origin - self._ascent.eps, self._origin + self._ascent.eps).clamp_(0, 1)


def auto_pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    *,
    eps: float,
    steps: int,
    objective: Objective,
    targets: Tensor | None = None,
) -> Tensor:
    """Float32 (n, C, H, W): of each image the first iterate that breaks it, else the one with the highest objective.

    Args:
        model: frozen, in eval mode.
        images: float32 (n, C, H, W) in [0, 1], the centre of the ball.
        labels: int64 (n,).
        start: float32, like images: the first iterate, in the ball.
        eps: radius in [0, 1] pixels.
        steps: at least 1.
        objective: what is ascended.
        targets: int64 (n,), for a targeted one.
    """
    way = _Way(model, images, labels, start, Ascent(eps, 2 * eps, objective), targets)
    found, alive = torch.empty_like(start), torch.arange(len(labels), device=labels.device)
    periods = checkpoints(steps)
    for taken in range(steps + 1):
        logits, _ = way.look()
        way.note(logits)
        if taken in periods:
            way.halve(periods[taken])
        if taken == steps:
            break
        if taken <= LOOKS or taken % LOOKS == 0:
            stay = (~way.broken).nonzero().flatten()
            if len(stay) < len(alive):
                found[alive] = way.candidates()
                alive = alive[stay]
                if len(alive) == 0:
                    way.check()
                    return found
                way.keep(stay)
        way.step()
    way.check()
    found[alive] = way.candidates()
    return found
