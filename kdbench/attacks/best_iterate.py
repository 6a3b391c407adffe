"""PGD that keeps, for each image, its worst iterate (the attack of Katz & Reches 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.attacks._engine import Trajectory
from kdbench.attacks._inputs import as_labels, check_budget, check_count, check_pixels, probe
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import Model, as_float, frozen


def pgd_best_iterate(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float = 8 / 255,
    step_size: float = 0.006,
    steps: int = 10,
    batch_size: int | None = None,
    gradient_draws: int = 1,
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
    check_budget(eps, step_size, steps)
    check_count("gradient_draws", gradient_draws)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_pixels(images)
    labels = as_labels(labels, images)
    with frozen(model, images) as fast:
        facts = probe(fast, images, labels, batch_size)

        def attack(part: Tensor) -> Tensor:
            origin, truth = as_float(images[part]), labels[part]
            best, highest = origin, torch.full(truth.shape, -torch.inf, dtype=torch.float64, device=origin.device)
            trajectory = Trajectory(
                fast, origin, truth, origin, eps=eps, step_size=step_size, gradient_draws=gradient_draws
            )
            for t in range(steps + 1):
                logits, _ = trajectory.look(last=t == steps)
                loss = F.cross_entropy(logits, truth, reduction="none").double()
                worse = loss > highest
                best = torch.where(worse[:, None, None, None], trajectory.images, best)
                highest = torch.where(worse, loss, highest)
                if t < steps:
                    trajectory.step()
            return best

        index = torch.arange(len(images), device=images.device)
        return torch.cat([best for _, best in in_batches(attack, index, facts.batch_size)])
