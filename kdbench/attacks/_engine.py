"""The arithmetic that every gradient attack here shares: input gradient, projected step, trajectory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.attacks._inputs import Probe
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import Model, as_float


def projected_step(images: Tensor, origin: Tensor, gradient: Tensor, *, eps: float, step_size: float) -> Tensor:
    """x_{t+1} = clip01(x_0 + clip_eps(x_t + step_size * sign(gradient) - x_0)), Madry et al. 2018, L-infinity.

    The order of operations is that of ``torchattacks.PGD``, so that equal starts give equal bits.

    >>> x = torch.full((1, 1, 1, 2), 0.5)
    >>> projected_step(x, x, torch.tensor([[[[2.0, -1.0]]]]), eps=0.1, step_size=0.25).flatten().tolist()
    [0.6000000238418579, 0.4000000059604645]
    """
    moved = torch.add(images, gradient.sign(), alpha=step_size)
    return moved.sub_(origin).clamp_(-eps, eps).add_(origin).clamp_(0, 1)


class Trajectory:
    """Gradient ascent on the summed cross-entropy of the true labels from ``start``, one batch of images at a time.

    ``look`` at the present iterate, then ``step`` to the next; ``keep`` goes on with a part of the images. The sum of
    the losses, not their mean: a mean divides each gradient by the batch size and pushes small ones towards underflow.

    Args:
        model: frozen, in eval mode.
        origin: float32 (n, C, H, W) in [0, 1], the centre of the ball.
        labels: int64 (n,).
        start: float32, like origin.
        gradient_draws: forward passes whose gradients are summed at each step, for a model that is random at test
            time (expectation over transformation, Athalye et al. 2018). ``look`` returns the logits of the first.
    """

    def __init__(
        self,
        model: Model,
        origin: Tensor,
        labels: Tensor,
        start: Tensor,
        *,
        eps: float,
        step_size: float,
        gradient_draws: int = 1,
    ) -> None:
        self._model, self._draws = model, gradient_draws
        self._origin, self._labels, self.images = origin, labels, start
        self._eps, self._step_size = eps, step_size
        self._gradient: Tensor | None = None
        self._finite = torch.ones((), dtype=torch.bool, device=start.device)

    def look(self, *, last: bool = False) -> tuple[Tensor, Tensor | None]:
        """Logits (n, classes) at the present iterate, and bool (n,): its input gradient is zero in every pixel.

        At the ``last`` iterate no gradient is taken, and whether everything was finite is looked at: each look at a
        value waits for the device, so there is one.

        Raises:
            KdbenchError: no gradient reaches the input, or a logit or gradient on the way was not finite.
        """
        if last:
            with torch.no_grad():
                logits = _float(self._model(self.images))
            require_finite(bool(self._finite & logits.isfinite().all()))
            return logits, None
        logits, gradient = self._logits_and_gradient()
        self._finite &= logits.isfinite().all() & gradient.isfinite().all()  # the sign of NaN is 0, which hides it
        self._gradient = gradient
        return logits, gradient.abs().amax(dim=(1, 2, 3)).eq(0)

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
            self.images, self._origin, self._gradient, eps=self._eps, step_size=self._step_size
        )

    def keep(self, index: Tensor) -> None:
        """Go on with these images alone; int64 (m,)."""
        assert self._gradient is not None
        self.images, self._origin, self._labels, self._gradient = (
            tensor[index] for tensor in (self.images, self._origin, self._labels, self._gradient)
        )

    def _logits_and_gradient(self) -> tuple[Tensor, Tensor]:
        """Detached logits of the first draw, and d(sum of cross-entropies)/d(images) summed over the draws."""
        leaf = self.images.detach().requires_grad_(True)
        first: Tensor | None = None
        total: Tensor | None = None
        for _ in range(self._draws):
            logits = _float(self._model(leaf))
            loss = F.cross_entropy(logits, self._labels, reduction="sum")
            # allow_unused answers None, where the default is a RuntimeError that doesn't say whose fault it is.
            draw = torch.autograd.grad(loss, leaf, allow_unused=True)[0] if loss.requires_grad else None
            if draw is None:
                raise KdbenchError(
                    "the model's logits carry no gradient to the input",
                    "remove no_grad, detach, argmax and rounding from the model's forward",
                )
            total = draw if total is None else total.add_(draw)
            first = logits.detach() if first is None else first
        assert first is not None and total is not None  # draws >= 1 is checked at the boundary
        return first, total


def _float(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


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
        require_finite(bool(logits.isfinite().all()))
        if votes == 1:
            return logits.argmax(dim=1).eq(labels)
        ballots = F.one_hot(logits.argmax(dim=1), logits.shape[1])
        for _ in range(votes - 1):
            ballots += F.one_hot(model(images).argmax(dim=1), logits.shape[1])
    return ballots.argmax(dim=1).eq(labels)


def correct_predictions(model: Model, images: Tensor, labels: Tensor, *, probe: Probe, votes: int = 1) -> Tensor:
    """Bool (N,): ``judge`` over many images, uint8 or float32 (N, C, H, W), in batches."""

    def part_of(part: Tensor) -> Tensor:
        return judge(model, as_float(images[part]), labels[part], votes=votes)

    index = torch.arange(len(images), device=images.device)
    return torch.cat([correct for _, correct in in_batches(part_of, index, probe.batch_size)])
