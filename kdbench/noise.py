"""Label noise: pure functions of labels and a generator.

All of them take int64 labels (N,) on any device and return a new int64 (N,) tensor there; the draws are made on the
generator's device, so a CPU generator gives the same noisy labels everywhere. ``rate`` is the nominal rate r; what
share of labels ends up wrong is said for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256

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
    _check(labels, rate, num_classes)
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
    _check(labels, rate, len(CIFAR10_CLASSES))
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
    _check(labels, rate, len(CIFAR100_CLASSES))
    chosen = _choose(labels.shape[0], exact_count(rate, labels.shape[0]), generator).to(labels.device)
    noisy = labels.clone()
    noisy[chosen] = next_subclass().to(labels.device)[labels[chosen]]
    return noisy


def pair_flip(labels: Tensor, rate: float, num_classes: int, *, generator: torch.Generator) -> Tensor:
    """Turn each label y into (y + 1) mod C with probability r, drawn for each sample (Han et al. 2018, Co-teaching).

    The wrong share is r on average; from r = .5 on the wrong class would be the majority, so that is an error.
    """
    _check(labels, rate, num_classes)
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


def _check(labels: Tensor, rate: float, num_classes: int) -> None:
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise KdbenchError(f"labels should be int64 (N,), they are {labels.dtype} {tuple(labels.shape)}")
    if not 0 <= rate <= 1:
        raise KdbenchError(f"a noise rate should be in [0, 1], found {rate}", "0.4 means 40 %")
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        raise KdbenchError(
            f"labels should be in [0, {num_classes - 1}], they range over [{int(labels.min())}, {int(labels.max())}]"
        )


@dataclass(frozen=True)
class LabelNoiseSpec:
    """What a plugin registers to bring a kind of label noise.

    Example::

        LabelNoiseSpec("to-zero", lambda labels, rate, num_classes, generator: torch.where(
            torch.rand(len(labels), generator=generator) < rate, 0, labels), "a share of labels becomes class 0")
    """

    name: str
    apply: Callable[[Tensor, float, int, torch.Generator], Tensor]
    """(labels int64 (N,), rate, num_classes, generator) -> noisy labels int64 (N,), all by position."""
    description: str = ""
    num_classes: int | None = None
    """The number of classes it is defined for; None for any."""
    class_names: tuple[str, ...] | None = None
    """The classes it is defined for, in the order of the labels; None for any."""

    def check_classes(self, found: Sequence[str]) -> None:
        """Raise ``KdbenchError`` for a data set with classes that the noise isn't defined for."""
        self.check_number(len(found))
        for ours, theirs in zip(self.class_names or found, found, strict=True):
            if ours == theirs:
                continue
            raise KdbenchError(
                f"label noise '{self.name}' flips classes by name: found '{theirs}' where it expects '{ours}'",
                "'symmetric' works with any classes",
            )

    def check_number(self, found: int) -> None:
        """Raise ``KdbenchError`` for a number of classes that the noise isn't defined for."""
        expected = self.num_classes if self.class_names is None else len(self.class_names)
        if expected not in (None, found):
            raise KdbenchError(
                f"label noise '{self.name}' is defined for {expected} classes, this dataset has {found}",
                "'symmetric' works with any number of classes",
            )


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise."""

    labels: Tensor
    """int64 (N,)."""
    realised: float
    """The share of labels that differ from the clean ones, in [0, 1]."""
    sha256: str
    """Of the label vector as int64 little endian."""


def apply(spec: LabelNoiseSpec, labels: Tensor, rate: float, num_classes: int, seed: int) -> NoisyLabels:
    """Put noise on clean labels with a CPU generator seeded with ``seed``, and check what comes back.

    Raises:
        KdbenchError: a rate outside [0, 1], a class count that the noise isn't defined for, or a noise function that
            returned something else than labels of these classes.
    """
    spec.check_number(num_classes)
    _check(labels, rate, num_classes)
    # The function gets a copy, so that one that writes in place can't touch the clean labels.
    noisy = spec.apply(labels.clone(), rate, num_classes, torch.Generator().manual_seed(seed))
    if not isinstance(noisy, Tensor) or noisy.dtype != labels.dtype or noisy.shape != labels.shape:
        got = f"{noisy.dtype} {tuple(noisy.shape)}" if isinstance(noisy, Tensor) else type(noisy).__name__
        raise KdbenchError(
            f"label noise '{spec.name}' should return {labels.dtype} {tuple(labels.shape)}, it returned {got}"
        )
    if len(noisy) and not (int(noisy.min()) >= 0 and int(noisy.max()) < num_classes):
        raise KdbenchError(f"label noise '{spec.name}' returned labels outside [0, {num_classes - 1}]")
    realised = float((noisy != labels.to(noisy.device)).double().mean()) if len(labels) else 0.0
    return NoisyLabels(noisy, realised, integers_sha256(noisy))


def builtin_specs() -> list[LabelNoiseSpec]:
    """The kinds of label noise that come with kdbench."""
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
