"""Projected gradient descent (Madry et al. 2018) with per-image worst case over restarts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from kdbench.attacks._engine import correct_predictions, trajectory
from kdbench.attacks._inputs import as_labels, as_pixels, check_budget, check_count, check_start
from kdbench.attacks._result import PGDResult
from kdbench.attacks._tally import Part, Tally, read_off
from kdbench.errors import KdbenchError
from kdbench.inference import Model, frozen, in_batches
from kdbench.precision import full_precision


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int | Sequence[int],
    restarts: int = 1,
    random_start: bool = True,
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 512,
    full_restarts: Tensor | None = None,
    gradient_draws: int = 1,
    keep_examples: bool = False,
) -> PGDResult:
    """Untargeted L-infinity PGD on the true labels, last-iterate rule, per-image worst case over restarts.

    x_0 = clip01(x + U(-eps, eps)), x_{t+1} = clip01(clip_eps(x_t + step_size * sign grad CE(f(x_t), y))): equations 3
    and 4 of Arani et al. 2021, and the semantics of ``torchattacks.PGD``. All requested k are read off one trajectory
    of max(steps) steps. Every image is attacked, also one that is misclassified clean, and an attack may make such an
    image correct: ``robust_accuracy`` counts what is correct *under attack* over N. With eps 0 the clean predictions
    are returned as they are. The model is in eval mode and frozen meanwhile and restored afterwards; float32 products
    are exact (no autocast, no TF32).

    The random start of restart r depends on the generator's state and on r alone, not on ``batch_size``, on
    ``restarts`` or on which images still stand. After the first restart an image that is broken at every k leaves,
    unless ``full_restarts`` keeps it.

    Args:
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); any normalisation is inside.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels.
        step_size: in [0, 1] pixels.
        steps: one k or several, each >= 0.
        restarts: number of starts.
        random_start: begin at a random point of the ball instead of at the image.
        start: float32 (restarts, N, C, H, W), or (N, C, H, W) for one restart: the points to begin at instead.
        generator: draws the starts; its device is where they are drawn. None: a fixed one, seeded with 0.
        batch_size: images per forward pass; halved when the device's memory is too small.
        full_restarts: bool (N,) or int (M,), the images that go through every restart, which ``min_run`` and ``mean``
            need; None: all, an empty tensor: none (the fastest).
        gradient_draws: gradients summed per step, for models that are random at test time.
        keep_examples: return the adversarial images too.

    Raises:
        KdbenchError: an argument out of its range, logits of a wrong shape, or logits that are not finite.
    """
    ks = _step_counts(steps)
    check_budget(eps, step_size, ks[-1])
    for name, count in (("restarts", restarts), ("gradient_draws", gradient_draws), ("batch_size", batch_size)):
        check_count(name, count)
    pixels = as_pixels(images)
    labels = as_labels(labels, pixels)
    full = _full_mask(full_restarts, pixels)
    starts = None if start is None else check_start(start, pixels, eps, restarts)
    seeds = _restart_seeds(generator, restarts)

    def attack(part: Tensor, begin: Tensor) -> Part:
        iterates = trajectory(
            model, pixels[part], labels[part], begin,
            eps=eps, step_size=step_size, steps=ks[-1], gradient_draws=gradient_draws,
        )  # fmt: skip
        return read_off(iterates, labels[part], ks)

    with full_precision(pixels.device), frozen(model):
        clean = correct_predictions(model, pixels, labels, batch_size=batch_size)
        tally = Tally.empty(ks, clean, full, restarts, pixels if keep_examples else None)
        for run in range(restarts):
            if eps == 0:
                tally.add_clean(run)
                continue
            if starts is not None:
                begin = starts[run]
            else:
                begin = _random_start(pixels, eps, seeds[run], generator) if random_start else pixels
            for part, found in in_batches(partial(_on_part, attack, begin), tally.active(run), batch_size):
                tally.add(run, part, found)
    return tally.result()


def _on_part(attack: Callable[[Tensor, Tensor], Part], begin: Tensor, part: Tensor) -> Part:
    return attack(part, begin[part])


def _step_counts(steps: int | Sequence[int]) -> tuple[int, ...]:
    """Ascending, without repetitions."""
    ks = tuple(sorted({int(k) for k in ([steps] if isinstance(steps, int) else steps)}))
    if not ks or ks[0] < 0:
        raise KdbenchError(f"steps is {steps}, expected one or more numbers >= 0", "e.g. steps=20 or (10, 15, 20)")
    return ks


def _full_mask(full_restarts: Tensor | None, pixels: Tensor) -> Tensor:
    """Bool (N,) from a mask, an index or None, which means all."""
    count, device = len(pixels), pixels.device
    if full_restarts is None:
        return torch.ones(count, dtype=torch.bool, device=device)
    chosen = full_restarts.to(device)
    if chosen.dtype == torch.bool and chosen.shape == (count,):
        return chosen
    mask = torch.zeros(count, dtype=torch.bool, device=device)
    if chosen.numel() == 0:
        return mask
    if chosen.dtype == torch.bool or chosen.is_floating_point() or chosen.ndim != 1:
        found = f"{chosen.dtype} of shape {tuple(chosen.shape)}"
        raise KdbenchError(f"full_restarts is {found}, expected bool ({count},) or int (M,)", "pass a mask or an index")
    if int(chosen.min()) < 0 or int(chosen.max()) >= count:
        raise KdbenchError(
            f"full_restarts reaches from {int(chosen.min())} to {int(chosen.max())}, expected 0 to {count - 1}",
            "index the images that are passed in this call",
        )
    mask[chosen.long()] = True
    return mask


def _restart_seeds(generator: torch.Generator | None, restarts: int) -> list[int]:
    """One seed per restart, all drawn at once, so that what restart r draws doesn't depend on the restarts before."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    return torch.randint(2**63 - 1, (restarts,), generator=generator, device=generator.device).tolist()


def _random_start(pixels: Tensor, eps: float, seed: int, generator: torch.Generator | None) -> Tensor:
    """clip01(x + U(-eps, eps)) for all images in one block, drawn on the generator's device."""
    device = torch.device("cpu") if generator is None else generator.device
    own = torch.Generator(device).manual_seed(seed)
    noise = torch.empty(pixels.shape, device=device).uniform_(-eps, eps, generator=own)
    return noise.to(pixels.device).add_(pixels).clamp_(0, 1)
