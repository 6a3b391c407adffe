"""Attacks of other people's libraries, by name, each run the same way and judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kdbench.attacks._engine import correct_predictions
from kdbench.attacks._inputs import as_labels, check_budget, check_count, check_pixels, probe
from kdbench.attacks.libraries import installation
from kdbench.attacks.libraries.autoattack import auto_attack
from kdbench.attacks.libraries.guard import BATCH_SIZE, as_pixels, own_random_numbers
from kdbench.attacks.libraries.torchattacks import torchattacks_class, torchattacks_examples
from kdbench.errors import KdbenchError, unknown_name
from kdbench.inference.prediction import Model, frozen

TIER_OF = {"apgd": "apgd", "autoattack": "standard"}
"""Attacks of pyautoattack to the tier that a model gets that is not random at test time."""

PREFIX = "torchattacks:"
"""Before the name of a class of torchattacks."""


@dataclass(frozen=True, eq=False)
class LibraryResult:
    """What an attack of a library found on N images, judged here.

    Attributes:
        clean_correct: bool (N,), the unattacked image is classified correctly.
        robust: bool (N,), it is, and so is its example; never more than ``clean_correct``.
        examples: float32 (N, C, H, W) in [0, 1], within eps of the images; an image that is misclassified already is
            not attacked and stands here as it is.
        tier: of AutoAttack, None for an attack of torchattacks.
    """

    clean_correct: Tensor
    robust: Tensor
    examples: Tensor
    tier: str | None = None


def library_attack(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    options: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> LibraryResult:
    """Attack the images that are classified correctly, and judge the examples in float32.

    ``apgd`` and ``autoattack`` are tiers of ``auto_attack``; a model that is random at test time gets ``rand`` in
    either's place, as AutoAttack prescribes. ``torchattacks:FGSM`` is that class, by ``torchattacks_examples``. With
    eps 0 the examples are the images and the robust accuracy is the clean one.

    Args:
        name: "apgd", "autoattack" or "torchattacks:" and a class.
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); frozen meanwhile and restored.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels, L-infinity.
        options: keyword arguments of a class of torchattacks.
        batch_size: images per forward pass; halved when the device's memory is too small.
        seed: of the attack's random numbers; the caller's are left alone.

    Raises:
        KdbenchError: as ``check_attack``, ``auto_attack`` and ``torchattacks_examples``.
    """
    check_attack(name, options)
    check_budget(eps, 1.0, 1)
    check_count("batch_size", batch_size)
    check_pixels(images)
    labels = as_labels(labels, images)
    examples = as_pixels(images)
    shared: dict[str, Any] = {"eps": eps, "batch_size": batch_size, "seed": seed}
    with own_random_numbers(seed, examples.device), frozen(model, examples) as fast:
        tried = probe(fast, examples, labels, batch_size)
        tier = ("rand" if tried.random else TIER_OF[name]) if name in TIER_OF else None
        clean = correct_predictions(fast, examples, labels, probe=tried)
        if eps == 0 or not bool(clean.any()):
            return LibraryResult(clean, clean, examples, tier)
        attacked = examples[clean], labels[clean]
        if tier is None:
            kind = name.removeprefix(PREFIX)
            examples[clean] = torchattacks_examples(kind, model, *attacked, options=options, **shared)
        else:
            examples[clean] = auto_attack(model, *attacked, tier=tier, **shared)
        robust = clean & correct_predictions(fast, examples, labels, probe=tried)
    return LibraryResult(clean, robust, examples, tier)


def check_attack(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise when there is no such attack, when its library can't be imported or when it has no such option.

    Raises:
        KdbenchError: one of these, with the nearest right name, the installing command or the accepted options.
    """
    if name.startswith(PREFIX):
        torchattacks_class(name.removeprefix(PREFIX), options)
        return
    if name not in TIER_OF:
        raise unknown_name("attack", name, TIER_OF, f"a class of torchattacks is written like '{PREFIX}PGD'")
    if options:
        raise KdbenchError(f"attack '{name}' has no option '{next(iter(options))}'", "it is the same for everybody")
    installation.autoattack()
