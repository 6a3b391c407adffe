"""The engine of the gradient attacks: a batch of images on its way up an objective, and which iterate counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.attacks._inputs import check_budget
from kdbench.attacks._judge import require_finite
from kdbench.attacks.objective import OBJECTIVES, Objective, objective_of
from kdbench.attacks.step import STEPS, projected_step
from kdbench.devices import widest
from kdbench.errors import KdbenchError, unknown_name
from kdbench.inference.model import Model


@dataclass(frozen=True)
class Ascent:
    """How an attack climbs, the same for all its images and restarts.

    Attributes:
        eps: radius of the ball in [0, 1] pixels.
        step_size: in [0, 1] pixels.
        objective: what it climbs.
        step_rule: one of ``STEPS``.
        iterate: rule over the iterates, one of ``ITERATES``.
        draws: forward passes whose gradients are summed at each step, for a model that is random at test time
            (expectation over transformation, Athalye et al. 2018).
    """

    eps: float
    step_size: float
    objective: Objective = OBJECTIVES["cross-entropy"]
    step_rule: str = "sign"
    iterate: str = "last"
    draws: int = 1

    @classmethod
    def checked(
        cls,
        eps: float,
        step_size: float,
        steps: int,
        objective: str | Objective,
        step_rule: str,
        iterate: str,
        draws: int,
    ) -> Ascent:
        """One whose numbers are in range and whose names exist.

        Raises:
            KdbenchError: one that is not.
        """
        check_budget(eps, step_size, steps)
        if step_rule not in STEPS:
            raise unknown_name("step rule", step_rule, STEPS)
        if iterate not in ITERATES:
            raise unknown_name("rule over iterates", iterate, ITERATES)
        return cls(eps, step_size, objective_of(objective), step_rule, iterate, draws)


class Trajectory:
    """Gradient ascent on the summed objective from ``start``, one batch of images at a time.

    ``look`` at the present iterate, then ``step`` to the next; ``keep`` goes on with a part of the images. The sum over
    the images, not their mean: a mean divides each gradient by the batch size and pushes small ones towards underflow.

    Args:
        model: frozen, in eval mode.
        origin: float32 (n, C, H, W) in [0, 1], the centre of the ball.
        labels: int64 (n,).
        start: float32, like origin.
        ascent: objective, steps and radius.
        targets: int64 (n,), for a targeted objective; None: an untargeted one does not look.
    """

    def __init__(
        self,
        model: Model,
        origin: Tensor,
        labels: Tensor,
        start: Tensor,
        ascent: Ascent,
        targets: Tensor | None = None,
    ) -> None:
        self._model, self._ascent, self._rule = model, ascent, STEPS[ascent.step_rule]()
        last = start.is_contiguous(memory_format=torch.channels_last)
        # As the iterates lie in memory: a step over two layouts is slow.
        self._origin = origin.contiguous(memory_format=torch.channels_last) if last else origin
        self._labels, self.images = labels, start
        self._targets = labels if targets is None else targets
        self._gradient: Tensor | None = None
        self._finite = torch.ones((), dtype=torch.bool, device=start.device)

    def look(self, *, last: bool = False) -> tuple[Tensor, Tensor | None]:
        """Logits (n, classes) at the present iterate, and bool (n,): its input gradient is zero in every pixel.

        The logits are those of the first draw. At the ``last`` iterate no gradient is taken, and whether everything was
        finite is looked at: each look at a value waits for the device, so there is one.

        Raises:
            KdbenchError: no gradient reaches the input, or a logit or gradient on the way was not finite.
        """
        if last:
            with torch.no_grad():
                logits = _float(self._model(self.images))
            require_finite(bool(self._finite & logits.isfinite().all()))
            return logits, None
        logits, gradient = self._logits_and_gradient()
        largest = gradient.abs().amax(dim=(1, 2, 3))  # NaN where a pixel's is: its sign is 0, which hides it
        self._finite &= logits.isfinite().all() & largest.isfinite().all()
        self._gradient = gradient
        return logits, largest.eq(0)

    def value(self, logits: Tensor) -> Tensor:
        """Float64 (n,), or float32 where the device has no float64: the objective of these logits (n, classes)."""
        return widest(self._ascent.objective.function(logits, self._labels, self._targets))

    def check(self) -> None:
        """Look whether everything so far was finite: for a trajectory that ends before its last look.

        Raises:
            KdbenchError: it was not.
        """
        require_finite(bool(self._finite))

    def step(self) -> None:
        """Move to the next iterate along the gradient that the last look found."""
        assert self._gradient is not None
        self.images = projected_step(
            self.images,
            self._origin,
            self._rule.direction(self._gradient),
            eps=self._ascent.eps,
            step_size=self._ascent.step_size,
        )

    def keep(self, index: Tensor) -> None:
        """Go on with these images alone; int64 (m,)."""
        assert self._gradient is not None
        self.images, self._origin, self._labels, self._targets, self._gradient = (
            tensor[index] for tensor in (self.images, self._origin, self._labels, self._targets, self._gradient)
        )
        self._rule.keep(index)

    def _logits_and_gradient(self) -> tuple[Tensor, Tensor]:
        """Detached logits of the first draw, and d(sum of objectives)/d(images) summed over the draws."""
        leaf = self.images.detach().requires_grad_(True)
        first: Tensor | None = None
        total: Tensor | None = None
        for _ in range(self._ascent.draws):
            logits = _float(self._model(leaf))
            height = self._ascent.objective.function(logits, self._labels, self._targets).sum()
            # allow_unused answers None, where the default is a RuntimeError that doesn't say whose fault it is.
            draw = torch.autograd.grad(height, leaf, allow_unused=True)[0] if height.requires_grad else None
            if draw is None:
                raise KdbenchError(
                    "the model's logits carry no gradient to the input",
                    "remove no_grad, detach, argmax and rounding from the model's forward",
                )
            total = draw if total is None else total.add_(draw)
            first = logits.detach() if first is None else first
        assert first is not None and total is not None  # draws >= 1 is checked at the boundary
        return first, total


class LastIterate:
    """The iterate that counts is the latest."""

    def __init__(self, start: Tensor) -> None:
        self.images = start

    def offer(self, trajectory: Trajectory, logits: Tensor) -> Tensor:
        """Look at the present iterate and its logits (n, classes); bool (n,): it is now the one that counts."""
        self.images = trajectory.images
        return torch.ones(len(logits), dtype=torch.bool, device=logits.device)

    def keep(self, index: Tensor) -> None:
        """Go on with these images alone; int64 (m,)."""
        self.images = self.images[index]


class BestIterate(LastIterate):
    """The iterate that counts is the one with the highest objective so far; of equal ones the earliest."""

    def __init__(self, start: Tensor) -> None:
        super().__init__(start)
        self._highest = widest(torch.full((len(start),), -torch.inf, device=start.device))

    def offer(self, trajectory: Trajectory, logits: Tensor) -> Tensor:
        value = trajectory.value(logits)
        higher = value > self._highest
        self.images = torch.where(higher[:, None, None, None], trajectory.images, self.images)
        self._highest = torch.where(higher, value, self._highest)
        return higher

    def keep(self, index: Tensor) -> None:
        super().keep(index)
        self._highest = self._highest[index]


ITERATES: Mapping[str, type[LastIterate]] = {"last": LastIterate, "best": BestIterate}


def ascend(
    model: Model,
    origin: Tensor,
    labels: Tensor,
    start: Tensor,
    ascent: Ascent,
    steps: int,
    targets: Tensor | None = None,
) -> Tensor:
    """Float32 (n, C, H, W): of each image the iterate that counts, after ``steps`` steps of a ``Trajectory``."""
    trajectory = Trajectory(model, origin, labels, start, ascent, targets)
    counted = ITERATES[ascent.iterate](start)
    for t in range(steps + 1):
        logits, _ = trajectory.look(last=t == steps)
        counted.offer(trajectory, logits)
        if t < steps:
            trajectory.step()
    return counted.images


def _float(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
