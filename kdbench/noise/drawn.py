"""Label noise that is drawn: pure functions of labels and a generator.

All of them take int64 labels (N,) on any device and return a new int64 (N,) tensor there; the draws are made on the
generator's device, so a CPU generator gives the same noisy labels everywhere. ``rate`` is the nominal rate r; what
share of labels ends up wrong is said for each.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from kdbench.errors import KdbenchError
from kdbench.noise.spec import LabelNoiseSpec

Definition = Literal["exclusive", "inclusive"]
Count = Literal["exact", "bernoulli"]
Variant = Literal["clean", "gjs"]

CIFAR10_FLIPS: dict[str, str] = {
    "bird": "airplane",
    "cat": "dog",
    "deer": "horse",
    "dog": "cat",
    "truck": "automobile",
}
"""The five confusions of asymmetric CIFAR-10 noise (Patrini et al. 2017), in class order."""


def symmetric(
    labels: Tensor,
    rate: float,
    num_classes: int,
    *,
    generator: torch.Generator,
    definition: Definition = "exclusive",
    count: Count = "exact",
) -> Tensor:
    """Give random samples a label drawn uniformly over the classes.

    Args:
        definition: "exclusive" draws from the C - 1 other classes, the wrong share is r (Co-teaching, SMKD);
            "inclusive" draws from all C, the wrong share is r(C - 1)/C on average (DivideMix, GJS, NRD).
        count: "exact" chooses floor(rN) samples, "bernoulli" each sample with probability r.

    >>> symmetric(torch.zeros(10, dtype=torch.int64), 0.3, 4, generator=torch.Generator()).count_nonzero().item()
    3
    """
    check_labels(labels, rate, num_classes)
    if definition not in ("exclusive", "inclusive"):
        raise KdbenchError(f"unknown definition '{definition}' of symmetric noise", "exclusive or inclusive")
    if count not in ("exact", "bernoulli"):
        raise KdbenchError(f"unknown count '{count}' of symmetric noise", "exact or bernoulli")
    if definition == "exclusive" and num_classes < 2:
        raise KdbenchError(f"exclusive symmetric noise needs 2 classes or more, found {num_classes}")
    size = labels.shape[0]
    if count == "exact":
        chosen = _choose(size, exact_count(rate, size), generator)
    else:
        chosen = (_uniform(size, generator) < rate).nonzero().flatten()
    lowest = 1 if definition == "exclusive" else 0
    shift = torch.randint(lowest, num_classes, chosen.shape, generator=generator, device=generator.device)
    chosen, shift = chosen.to(labels.device), shift.to(labels.device)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    return noisy


def asymmetric_cifar10(
    labels: Tensor, rate: float, *, generator: torch.Generator, variant: Variant = "clean"
) -> Tensor:
    """Flip bird to airplane, cat to dog, deer to horse, dog to cat and truck to automobile (Patrini et al. 2017).

    Of each of these five classes floor(r n) of its n samples flip, so with equal classes the wrong share is r/2.

    Args:
        labels: in CIFAR-10's order of classes.
        variant: "clean" chooses by the clean labels. "gjs" goes through the classes in order on labels already
            changed, as the public code of Englesson & Azizpour 2021 does: cats that became dogs may flip back, and
            the wrong share is (4r + r(1 - r))/10 on average.
    """
    check_labels(labels, rate, len(CIFAR10_CLASSES))
    if variant not in ("clean", "gjs"):
        raise KdbenchError(f"unknown variant '{variant}' of asymmetric noise", "clean or gjs")
    noisy = labels.clone()
    for source, target in CIFAR10_FLIPS.items():
        pool = noisy if variant == "gjs" else labels
        members = (pool == CIFAR10_CLASSES.index(source)).nonzero().flatten()
        picks = _choose(len(members), exact_count(rate, len(members)), generator).to(labels.device)
        noisy[members[picks]] = CIFAR10_CLASSES.index(target)
    return noisy


def next_subclass() -> Tensor:
    """CIFAR-100's map from each fine label to the next subclass of its superclass, int64 (100,).

    The five subclasses of a superclass follow one another in alphabetical order, the last goes to the first.

    >>> CIFAR100_CLASSES[int(next_subclass()[CIFAR100_CLASSES.index("whale")])]
    'beaver'
    """
    following = {
        fine: group[(place + 1) % len(group)]
        for group in CIFAR100_SUPERCLASSES.values()
        for place, fine in enumerate(group)
    }
    return torch.tensor([CIFAR100_CLASSES.index(following[fine]) for fine in CIFAR100_CLASSES], dtype=torch.int64)


def asymmetric_cifar100(labels: Tensor, rate: float, *, generator: torch.Generator) -> Tensor:
    """Move exactly floor(rN) random samples to the :func:`next_subclass`; the wrong share is r.

    Source: Patrini et al. 2017, with the superclasses of the official coarse labels and a count over the whole set as
    in Englesson & Azizpour 2021.

    Args:
        labels: CIFAR-100 fine labels.
    """
    check_labels(labels, rate, len(CIFAR100_CLASSES))
    chosen = _choose(labels.shape[0], exact_count(rate, labels.shape[0]), generator).to(labels.device)
    noisy = labels.clone()
    noisy[chosen] = next_subclass().to(labels.device)[labels[chosen]]
    return noisy


def pair_flip(labels: Tensor, rate: float, num_classes: int, *, generator: torch.Generator) -> Tensor:
    """Turn each label y into (y + 1) mod C with probability r, drawn for each sample (Han et al. 2018, Co-teaching).

    The wrong share is r on average; from r = .5 on the wrong class would be the majority, so that is an error.
    """
    check_labels(labels, rate, num_classes)
    if rate >= 0.5:
        raise KdbenchError(f"pair-flip noise needs a rate below 0.5, found {rate}", "the wrong class would win")
    if num_classes < 2:
        raise KdbenchError(f"pair-flip noise needs 2 classes or more, found {num_classes}")
    flipped = (_uniform(labels.shape[0], generator) < rate).to(labels.device)
    return torch.where(flipped, (labels + 1) % num_classes, labels)


def exact_count(rate: float, size: int) -> int:
    """floor(rate * size), with the rate taken as the decimal number that was written.

    In floating point .29 * 100 is 28.999999999999996.

    >>> exact_count(0.29, 100)
    29
    """
    return math.floor(Fraction(repr(float(rate))) * size)


def _uniform(size: int, generator: torch.Generator) -> Tensor:
    # float64, so that a float32 rounding of the rate can't matter.
    return torch.rand(size, dtype=torch.float64, generator=generator, device=generator.device)


def _choose(size: int, number: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(size, generator=generator, device=generator.device)[:number]


def check_labels(labels: Tensor, rate: float, num_classes: int) -> None:
    """Raise ``KdbenchError`` for labels that are no int64 (N,) in [0, num_classes), or a rate outside [0, 1]."""
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise KdbenchError(f"labels should be int64 (N,), they are {labels.dtype} {tuple(labels.shape)}")
    if not 0 <= rate <= 1:
        raise KdbenchError(f"a noise rate should be in [0, 1], found {rate}", "0.4 means 40 %")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        raise KdbenchError(
            f"labels should be in [0, {num_classes - 1}], they range over [{int(labels.min())}, {int(labels.max())}]"
        )


def specs() -> list[LabelNoiseSpec]:
    """The kinds that are drawn."""
    return [
        LabelNoiseSpec(
            "symmetric",
            lambda labels, rate, classes, generator: symmetric(labels, rate, classes, generator=generator),
            "floor(rN) samples get one of the other classes; wrong share r",
        ),
        LabelNoiseSpec(
            "symmetric-inclusive",
            lambda labels, rate, classes, generator: symmetric(
                labels, rate, classes, generator=generator, definition="inclusive"
            ),
            "floor(rN) samples get any class, their own among them; wrong share r(C-1)/C",
        ),
        LabelNoiseSpec(
            "asymmetric-cifar10",
            lambda labels, rate, _, generator: asymmetric_cifar10(labels, rate, generator=generator),
            "five look-alike flips, chosen by clean labels; wrong share r/2",
            len(CIFAR10_CLASSES),
            CIFAR10_CLASSES,
        ),
        LabelNoiseSpec(
            "asymmetric-cifar10-gjs",
            lambda labels, rate, _, generator: asymmetric_cifar10(labels, rate, generator=generator, variant="gjs"),
            "the same flips, one after the other on changed labels; wrong share (4r+r(1-r))/10",
            len(CIFAR10_CLASSES),
            CIFAR10_CLASSES,
        ),
        LabelNoiseSpec(
            "asymmetric-cifar100",
            lambda labels, rate, _, generator: asymmetric_cifar100(labels, rate, generator=generator),
            "floor(rN) samples move to the next subclass of their superclass; wrong share r",
            len(CIFAR100_CLASSES),
            CIFAR100_CLASSES,
        ),
        LabelNoiseSpec(
            "pair-flip",
            lambda labels, rate, classes, generator: pair_flip(labels, rate, classes, generator=generator),
            "each label becomes the next class with probability r < .5; wrong share r",
        ),
    ]
