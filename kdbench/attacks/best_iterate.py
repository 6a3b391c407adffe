"""PGD that keeps, for each image, its worst iterate (the attack of Katz & Reches 2022)."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor

from kdbench.attacks._inputs import check_call, probe
from kdbench.attacks.trajectory import Ascent, ascend
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import over_all
from kdbench.inference.prediction import frozen


class Budget(TypedDict, total=False):
    """Keyword arguments of ``pgd_best_iterate``, for those that pass them on."""

    eps: float
    step_size: float
    steps: int
    batch_size: int | None
    gradient_draws: int


BUDGET: Budget = {"eps": 8 / 255, "step_size": 0.006, "steps": 10, "batch_size": None, "gradient_draws": 1}
"""The defaults: those of the public code of Katz & Reches 2022."""


def pgd_best_iterate(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float = BUDGET["eps"],
    step_size: float = BUDGET["step_size"],
    steps: int = BUDGET["steps"],
    batch_size: int | None = BUDGET["batch_size"],
    gradient_draws: int = BUDGET["gradient_draws"],
) -> Tensor:
    """Untargeted L-infinity PGD from the image itself; per image the iterate with the lowest true-class probability.

    The iterates are x_0 = x ... x_steps; of equal ones the earliest is kept. Defaults, zero start and best-iterate
    rule are those of the public code of Katz & Reches 2022 (``attacks/pgd.py``). Probabilities are compared as
    logarithms, which still differ where the probability itself has rounded to 0. For a model that is random at test
    time each iterate is judged by one forward pass, and the examples need a fresh evaluation.

    Args:
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); frozen meanwhile and restored.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels.
        step_size: in [0, 1] pixels; steps * step_size bounds how far an image can move.
        steps: number of gradient steps, >= 1.
        batch_size: images per forward pass; None: what the memory allows. Halved when the memory is too small.
        gradient_draws: gradients summed per step, for models that are random at test time.

    Returns:
        Float32 (N, C, H, W) in [0, 1], within eps of the images.

    Raises:
        KdbenchError: an argument out of its range, logits of a wrong shape, or logits that are not finite.
    """
    ascent = Ascent.checked(eps, step_size, steps, "cross-entropy", "sign", "best", gradient_draws)
    labels = check_call(images, labels, batch_size=batch_size, gradient_draws=gradient_draws)
    with frozen(model, images) as fast:

        def attack(part: Tensor) -> Tensor:
            origin = as_float(images[part])
            return ascend(fast, origin, labels[part], origin, ascent, steps)

        facts = probe(fast, images, labels, batch_size)
        return over_all(attack, len(images), facts.batch_size, images.device)
