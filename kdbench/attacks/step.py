"""How gradient attacks move: along which direction, how far, and never out of the ball."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor


def projected_step(images: Tensor, origin: Tensor, direction: Tensor, *, eps: float, step_size: float) -> Tensor:
    """x_{t+1} = clip01(x_0 + clip_eps(x_t + step_size * sign(direction) - x_0)), Madry et al. 2018, L-infinity.

    The order of operations is that of ``torchattacks.PGD``, so that equal starts give equal bits.

    >>> x = torch.full((1, 1, 1, 2), 0.5)
    >>> projected_step(x, x, torch.tensor([[[[2.0, -1.0]]]]), eps=0.1, step_size=0.25).flatten().tolist()
    [0.6000000238418579, 0.4000000059604645]
    """
    moved = torch.add(images, direction.sign(), alpha=step_size)
    return moved.sub_(origin).clamp_(-eps, eps).add_(origin).clamp_(0, 1)


class StepRule(Protocol):
    """The direction of each step from the gradients so far, for one batch of images on their way."""

    def direction(self, gradient: Tensor) -> Tensor:
        """Float (n, C, H, W), whose sign the next step follows; ``gradient`` is that of the present iterate."""
        ...

    def keep(self, index: Tensor) -> None:
        """Go on with these images alone; int64 (m,)."""
        ...


class Sign:
    """The gradient of the present iterate alone (Madry et al. 2018)."""

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient

    def keep(self, index: Tensor) -> None:
        pass


class Momentum:
    """g_{t+1} = decay * g_t + gradient / ||gradient||_1, from g_0 = 0 (MI-FGSM, Dong et al. 2018; there decay = 1)."""

    def __init__(self, decay: float = 1.0) -> None:
        self._decay = decay
        self._sum: Tensor | None = None

    def direction(self, gradient: Tensor) -> Tensor:
        length = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        unit = gradient / length.clamp(min=torch.finfo(gradient.dtype).tiny)  # a gradient of zero stays one
        self._sum = unit if self._sum is None else self._decay * self._sum + unit
        return self._sum

    def keep(self, index: Tensor) -> None:
        self._sum = None if self._sum is None else self._sum[index]


STEPS: Mapping[str, Callable[[], StepRule]] = {"sign": Sign, "momentum": Momentum}
