"""AutoAttack and its fast tier (Croce & Hein 2020), by the package pyautoattack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kdbench.attacks._engine import correct_predictions, judge
from kdbench.attacks._inputs import as_labels, check_budget, check_count, check_pixels, probe
from kdbench.attacks.libraries import installation
from kdbench.attacks.libraries.guard import (
    BATCH_SIZE,
    Guarded,
    as_pixels,
    inside_ball,
    inside_library,
    own_random_numbers,
)
from kdbench.errors import KdbenchError, unknown_name
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import Model, frozen

TIERS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "apgd": ("apgd-ce", "apgd-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""The attacks of each tier, each run on what the ones before it left standing. ``standard`` and ``rand`` are
AutoAttack's versions; ``apgd`` is the first half of ``standard``, which finds nearly all that the whole does."""

TARGETS = 9
"""Classes that the targeted attacks aim at, the likeliest first, where there are as many."""

Perturb = Callable[[Tensor, Tensor], Any]
"""Images and labels to what the library makes of them."""


def auto_attack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    tier: str = "standard",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Tensor:
    """Adversarial examples of AutoAttack under the L-infinity norm; the image itself where none was found.

    ``standard`` is APGD-CE, targeted APGD-DLR, targeted FAB and Square; ``apgd`` the first two alone, a small part of
    the time; ``rand``, for a model that is random at test time, APGD-CE and APGD-DLR, each gradient the mean of 20
    draws. Each example is clipped to the ball and judged here in float32; what the library says of it counts for
    nothing. The model is in eval mode and frozen meanwhile and restored afterwards.

    The random starts depend on ``seed`` and on the batch that an image is in, not on the device; with all images in one
    batch the examples are those of ``AutoAttack.run_standard_evaluation``.

    Args:
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); any normalisation is inside.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels; 0 returns the images.
        tier: one of ``TIERS``.
        batch_size: images per forward pass; halved when the device's memory is too small.
        seed: of the attacks' random numbers; the caller's are left alone.

    Returns:
        Float32 (N, C, H, W) in [0, 1], within eps of the images.

    Raises:
        KdbenchError: an argument out of its range, too few classes for the tier, pyautoattack is not installed or
            fails, or logits of a wrong shape or not finite.
    """
    if tier not in TIERS:
        raise unknown_name("tier of AutoAttack", tier, TIERS)
    check_budget(eps, 1.0, 1)
    check_count("batch_size", batch_size)
    check_pixels(images)
    labels = as_labels(labels, images)
    pixels = as_pixels(images)
    if eps == 0:
        return pixels
    with own_random_numbers(seed, pixels.device), frozen(model, pixels) as fast:
        tried = probe(fast, pixels, labels, batch_size)
        stages = _stages(Guarded(fast), tier, _classes(fast, pixels), eps, seed, pixels.device)
        standing = correct_predictions(fast, pixels, labels, probe=tried).nonzero().flatten()
        examples = pixels.clone()
        for name, perturb in stages.items():
            attack = partial(_perturbed, fast, perturb, pixels, labels, eps=eps, name=name, seed=seed)
            left = [standing[:0]]
            for part, (found, correct) in in_batches(attack, standing, batch_size):
                examples[part[~correct]] = found[~correct]
                left.append(part[correct])
            standing = torch.cat(left)
    return examples


def _perturbed(
    model: Model, perturb: Perturb, pixels: Tensor, labels: Tensor, part: Tensor, *, eps: float, name: str, seed: int
) -> tuple[Tensor, Tensor]:
    """One attack's examples for the images of ``part``, and whether the model is still right on them."""
    with (
        inside_library(name, seed, pixels.device),
        torch.no_grad(),
    ):  # the library turns gradients on where it needs them
        found = perturb(pixels[part], labels[part])
    found = inside_ball(found, pixels[part], eps)
    return found, judge(model, found, labels[part])


def _classes(model: Model, pixels: Tensor) -> int:
    with torch.no_grad():
        return model(pixels[:1]).shape[1]


def _stages(model: Guarded, tier: str, classes: int, eps: float, seed: int, device: torch.device) -> dict[str, Perturb]:
    """Each attack of a tier, configured as AutoAttack configures it; targets are no more than there are."""
    needed = 3 if tier == "rand" else 4
    if classes < needed:
        raise KdbenchError(
            f"tier '{tier}' of AutoAttack needs {needed} classes, found {classes}",
            "its DLR loss compares so many logits: use an attack with another loss",
        )
    library = installation.autoattack()
    with inside_library("autoattack", seed, device):
        version = "rand" if tier == "rand" else "standard"
        made = library.AutoAttack(model, norm="Linf", eps=eps, seed=seed, device=device, version=version)
        made.fab.targeted = True
        made.fab.n_target_classes = made.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)

    def apgd(loss: str, images: Tensor, labels: Tensor) -> Any:
        made.apgd.loss = loss
        return made.apgd.perturb(images, labels)

    known: dict[str, Perturb] = {
        "apgd-ce": partial(apgd, "ce"),
        "apgd-dlr": partial(apgd, "dlr"),
        "apgd-t": made.apgd_targeted.perturb,
        "fab-t": made.fab.perturb,
        "square": made.square.perturb,
    }
    return {name: known[name] for name in TIERS[tier]}
