"""Projected gradient descent (Madry et al. 2018) with per-image worst case over restarts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from kdbench.attacks._engine import Trajectory, correct_predictions, judge
from kdbench.attacks._inputs import as_labels, check_budget, check_count, check_pixels, check_start, probe
from kdbench.attacks._result import PGDResult
from kdbench.attacks._starts import RandomStarts
from kdbench.attacks._tally import Part, Tally, read_off
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import Model, as_float, frozen


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
    batch_size: int | None = None,
    full_restarts: Tensor | None = None,
    gradient_draws: int = 1,
    votes: int = 1,
    keep_examples: bool = False,
    fold: bool = True,
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
        eps: radius in pixels, 0 to 1.
        step_size: in pixels, above 0 to 1.
        steps: one k or several, each >= 0 and one at least 1.
        restarts: number of starts.
        random_start: begin at a random point of the ball instead of at the image.
        start: float32 (restarts, N, C, H, W), or (N, C, H, W) for one restart: the points to begin at instead.
        generator: draws the starts; its device is where they are drawn. None: a fixed one, seeded with 0.
        batch_size: images per forward pass; None: what the memory allows. Halved when the memory is too small.
        full_restarts: bool (N,) or int (M,), the images that go through every restart, which ``min_run`` and ``mean``
            need; None: all, an empty tensor: none (the fastest).
        gradient_draws: gradients summed per step, for models that are random at test time.
        votes: fresh forward passes whose majority decides whether an image is correct, for such models.
        keep_examples: return the adversarial images too.
        fold: fold batch norms for speed; False runs the model as it is, to compare with another implementation bit for
            bit: the sign of a gradient that is almost 0 hangs on rounding.

    Raises:
        KdbenchError: an argument out of its range; and, from a first look at a few images, logits of a wrong shape,
            probabilities instead of logits, logits that are not finite.
    """
    ks = _step_counts(steps)
    check_budget(eps, step_size, ks[-1])
    for name, count in (("restarts", restarts), ("gradient_draws", gradient_draws), ("votes", votes)):
        check_count(name, count)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_pixels(images)
    labels = as_labels(labels, images)
    full = _full_mask(full_restarts, images)
    starts = None if start is None else check_start(start, images, eps, restarts)
    seeds = _restart_seeds(generator, restarts)
    where = torch.device("cpu") if generator is None else generator.device
    drawn = [RandomStarts(seed, eps, where) for seed in seeds]

    def begin(run: int, part: Tensor, pixels: Tensor) -> Tensor:
        if starts is not None:
            return starts[run, part]
        return drawn[run].of(part, pixels) if random_start else pixels

    with frozen(model, images, fold=fold) as fast:
        facts = probe(fast, images, labels, batch_size)

        def attack(runs: Sequence[int], wanted: Tensor | None, part: Tensor) -> Part:
            """These restarts of the images ``part`` in one batch, a restart after the other."""
            pixels, truth = as_float(images[part]), labels[part]
            trajectory = Trajectory(
                fast,
                pixels.repeat(len(runs), 1, 1, 1),
                truth.repeat(len(runs)),
                torch.cat([begin(run, part, pixels) for run in runs]),
                eps=eps,
                step_size=step_size,
                gradient_draws=gradient_draws,
            )
            vote = partial(judge, fast, votes=votes) if votes > 1 else None
            asked = None if wanted is None else wanted[part].repeat(len(runs))
            return read_off(trajectory, truth.repeat(len(runs)), ks, asked, vote)

        clean = correct_predictions(fast, images, labels, probe=facts, votes=votes)
        tally = Tally.empty(ks, clean, full, restarts, as_float(images).clone() if keep_examples else None)
        left = list(range(restarts)) if eps > 0 else []
        while left:
            wanted = tally.wanted() if left[0] else None
            active = torch.arange(len(images), device=images.device) if wanted is None else (wanted >= 0).nonzero()
            # A few images cost a step hardly less than a full batch: then the restarts that are left go together.
            few = len(active) * len(left) <= facts.batch_size and not facts.random
            together = left if left[0] and few else left[:1]
            for part, found in in_batches(partial(attack, together, wanted), active.flatten(), facts.batch_size):
                for run, one in zip(together, found.split(len(together)), strict=True):
                    tally.add(run, part, one)
            left = left[len(together) :]
        if eps == 0:
            tally.add_clean()
    return tally.result()


def _step_counts(steps: int | Sequence[int]) -> tuple[int, ...]:
    """Ascending, without repetitions."""
    ks = tuple(sorted({int(k) for k in ([steps] if isinstance(steps, int) else steps)}))
    if not ks or ks[0] < 0:
        raise KdbenchError(f"steps is {steps}, expected one or more numbers >= 0", "e.g. steps=20 or (10, 15, 20)")
    return ks


def _full_mask(full_restarts: Tensor | None, images: Tensor) -> Tensor:
    """Bool (N,) from a mask, an index or None, which means all."""
    count, device = len(images), images.device
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
