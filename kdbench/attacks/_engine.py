"""The arithmetic that every gradient attack here shares: logits, input gradient, projected step, trajectory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.inference import Model, in_batches


@dataclass(frozen=True, eq=False)
class Iterate:
    """One point of a trajectory.

    Attributes:
        images: float32 (n, C, H, W) in [0, 1], the iterate x_t.
        logits: (n, classes), what the model says of it; detached.
        zero_gradient: bool (n,), the input gradient at x_t is zero in every pixel; None for the last iterate, where no
            gradient is taken.
    """

    images: Tensor
    logits: Tensor
    zero_gradient: Tensor | None


def logits_of(model: Model, images: Tensor, highest: int) -> Tensor:
    """The model's logits, float32 or float64 (n, classes), with their shape checked.

    ``highest`` is the highest label, as a number of the host: looking at labels here would wait for the device.

    Raises:
        KdbenchError: not two-dimensional, not one row per image, or fewer classes than the labels need.
    """
    logits = model(images)
    if logits.ndim != 2 or len(logits) != len(images):
        raise KdbenchError(
            f"the model returned logits of shape {tuple(logits.shape)} for {len(images)} images, "
            f"expected ({len(images)}, classes)",
            "make the model map pixels (n, C, H, W) to logits (n, classes)",
        )
    if highest >= logits.shape[1]:
        raise KdbenchError(
            f"label {highest} found, but the model has {logits.shape[1]} classes",
            "attack the model on the data set it was trained for",
        )
    return logits if logits.dtype == torch.float64 else logits.float()


def projected_step(images: Tensor, origin: Tensor, gradient: Tensor, *, eps: float, step_size: float) -> Tensor:
    """x_{t+1} = clip01(x_0 + clip_eps(x_t + step_size * sign(gradient) - x_0)), Madry et al. 2018, L-infinity.

    The order of operations is that of ``torchattacks.PGD``, so that equal starts give equal bits.

    >>> x = torch.full((1, 1, 1, 2), 0.5)
    >>> projected_step(x, x, torch.tensor([[[[2.0, -1.0]]]]), eps=0.1, step_size=0.25).flatten().tolist()
    [0.6000000238418579, 0.4000000059604645]
    """
    moved = images + step_size * gradient.sign()
    return (origin + (moved - origin).clamp(-eps, eps)).clamp(0, 1)


def trajectory(
    model: Model,
    origin: Tensor,
    labels: Tensor,
    start: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    gradient_draws: int = 1,
) -> Iterator[Iterate]:
    """Yield the iterates x_0 = start ... x_steps of gradient ascent on the summed cross-entropy of the true labels.

    The sum, not the mean: a mean divides each gradient by the batch size and pushes small ones towards underflow.

    Args:
        model: frozen, in eval mode.
        origin: float32 (n, C, H, W) in [0, 1], the centre of the ball.
        labels: int64 (n,).
        start: float32, like origin.
        gradient_draws: forward passes whose gradients are summed at each step, for a model that is random at test
            time (expectation over transformation, Athalye et al. 2018). The logits yielded are those of the first.

    Raises:
        KdbenchError: no gradient reaches the input, or, when the trajectory ends, a logit or gradient was not finite.
    """
    highest = int(labels.max())
    images, finite = start, torch.ones((), dtype=torch.bool, device=start.device)
    for _ in range(steps):
        logits, gradient = _logits_and_gradient(model, images, labels, highest, gradient_draws)
        finite &= logits.isfinite().all() & gradient.isfinite().all()  # the sign of NaN is 0, which hides it
        yield Iterate(images, logits, gradient.flatten(1).eq(0).all(dim=1))
        images = projected_step(images, origin, gradient, eps=eps, step_size=step_size)
    with torch.no_grad():
        logits = logits_of(model, images, highest)
    yield Iterate(images, logits, None)
    require_finite(bool(finite & logits.isfinite().all()))  # one look at the end, as each look waits for the device


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


def correct_predictions(model: Model, images: Tensor, labels: Tensor, *, batch_size: int) -> Tensor:
    """Bool (N,): the largest logit is the true class; ties go to the lowest class index.

    Raises:
        KdbenchError: logits of a wrong shape or not finite.
    """

    highest = int(labels.max())

    def judge(part: Tensor) -> Tensor:
        logits = logits_of(model, images[part], highest)
        require_finite(bool(logits.isfinite().all()))
        return logits.argmax(dim=1).eq(labels[part])

    index = torch.arange(len(images), device=images.device)
    with torch.no_grad():
        return torch.cat([correct for _, correct in in_batches(judge, index, batch_size)])


def _logits_and_gradient(
    model: Model, images: Tensor, labels: Tensor, highest: int, draws: int
) -> tuple[Tensor, Tensor]:
    """Detached logits of the first draw, and d(sum of cross-entropies)/d(images) summed over the draws."""
    leaf = images.detach().requires_grad_(True)
    first: Tensor | None = None
    gradient = torch.zeros_like(images)
    for _ in range(draws):
        logits = logits_of(model, leaf, highest)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        # allow_unused answers None, where the default is a RuntimeError that doesn't say whose fault it is.
        draw = torch.autograd.grad(loss, leaf, allow_unused=True)[0] if loss.requires_grad else None
        if draw is None:
            raise KdbenchError(
                "the model's logits carry no gradient to the input",
                "remove no_grad, detach, argmax and rounding from the model's forward",
            )
        gradient += draw
        first = logits.detach() if first is None else first
    assert first is not None  # draws >= 1 is checked at the boundary
    return first, gradient
