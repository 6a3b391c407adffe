"""Labels as a training observes them: noise put on the clean labels of its examples, checked and counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.data import DataFacts, DataPlace, ImageSet
from kdbench.data.base import official_places
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256
from kdbench.noise.drawn import check_labels
from kdbench.noise.spec import LabelNoiseSpec
from kdbench.specs import LabelNoise

SHARE_TOLERANCE = 5e-5
"""A published share is rounded to .01 %."""
ENOUGH = 1000
"""Labels from which on it shows whether they have anything to do with the images."""
SURE = 5.0
"""Standard deviations of the agreement of unrelated labels that count as chance."""


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise."""

    labels: Tensor
    """int64 (N,)."""
    realised: float
    """The share of labels that differ from the clean ones, in [0, 1]."""
    sha256: str
    """Of the label vector as int64 little endian."""
    confusion: Tensor | None = None
    """int64 (C, C), of labels that were read: examples by true class (row) and observed one; None for drawn noise."""
    file_sha256: str = ""
    """Of the file that they were read from, "" where there is none."""


def observe(
    spec: LabelNoiseSpec, noise: LabelNoise, images: ImageSet, index: Tensor, data: DataFacts, place: DataPlace
) -> NoisyLabels:
    """The labels of a training's examples under a condition's noise.

    Args:
        images: all training images of the data set.
        index: int64 (n,), the rows of ``images`` that are the examples, in their order.

    Raises:
        KdbenchError: what ``spec.check`` and ``apply`` raise; or labels that can't be read, are of other images, or are
            keyed to an order that the images do not have.
    """
    spec.check(noise, data)
    classes = len(data.class_names)
    if spec.read is None:
        return apply(spec, images.labels[index], noise.rate or 0.0, classes, noise.seed)
    return _given(spec, noise, images, index, data, place)


def apply(spec: LabelNoiseSpec, labels: Tensor, rate: float, num_classes: int, seed: int) -> NoisyLabels:
    """Put noise on clean labels with a CPU generator seeded with ``seed``, and check what comes back.

    Raises:
        KdbenchError: a rate outside [0, 1], a class count that the noise isn't defined for, a noise function that
            returned something else than labels of these classes, or labels that have nothing to do with the clean ones
            though the rate says so; or a kind that is read, not drawn.
    """
    if spec.apply is None:
        raise KdbenchError(f"label noise '{spec.name}' is read, not drawn", "use kdbench.noise.observe")
    spec.check_number(num_classes)
    check_labels(labels, rate, num_classes)
    # The function gets a copy, so that one that writes in place can't touch the clean labels.
    noisy = spec.apply(labels.clone(), rate, num_classes, torch.Generator().manual_seed(seed))
    _check(spec, noisy, labels, num_classes)
    realised = _share(noisy, labels)
    if realised > rate + SURE * math.sqrt(rate * (1 - rate) / max(len(labels), 1)) and _unrelated(noisy, labels):
        asked = f"a rate of {rate:g} was asked for"
        raise _unrelated_error(spec, realised, asked, "a kind whose labels exist already has `read`, not `apply`")
    return NoisyLabels(noisy, realised, integers_sha256(noisy))


def _given(
    spec: LabelNoiseSpec, noise: LabelNoise, images: ImageSet, index: Tensor, data: DataFacts, place: DataPlace
) -> NoisyLabels:
    """Labels that exist already: read for all training images, held against the clean ones, and looked up."""
    assert spec.read is not None
    try:
        places = official_places(images)
    except KdbenchError as error:
        raise KdbenchError(f"label noise '{spec.name}' can't be used: {error.message}", error.hint) from None
    given = spec.read(noise, data, place)
    clean = torch.empty_like(images.labels)
    clean[places] = images.labels
    _check(spec, given.observed, clean, len(data.class_names))
    if given.clean is not None:
        _check(spec, given.clean, clean, len(data.class_names))
        if differing := int((given.clean != clean).sum()):
            raise KdbenchError(
                f"label noise '{spec.name}': its own clean labels differ from those of '{images.name}' in "
                f"{differing:,} of {len(clean):,} examples",
                "it is of other images, or of these in another order",
            )
    share = _share(given.observed, clean)
    if spec.share is not None and abs(share - spec.share) > SHARE_TOLERANCE:
        raise KdbenchError(
            f"label noise '{spec.name}': {share:.4%} of its labels are wrong, published are {spec.share:.2%}",
            "fetch the official file again",
        )
    if _unrelated(given.observed, clean):
        expected = f"expected are labels of '{images.name}'"
        raise _unrelated_error(spec, share, expected, "bring them into the order of its official files")
    labels, true = given.observed[places[index]], images.labels[index]
    classes = len(data.class_names)
    confusion = torch.bincount(true * classes + labels, minlength=classes**2).view(classes, classes)
    return NoisyLabels(labels, _share(labels, true), integers_sha256(labels), confusion, given.sha256)


def _share(noisy: Tensor, clean: Tensor) -> float:
    return float((noisy != clean.to(noisy.device)).double().mean()) if len(clean) else 0.0


def _check(spec: LabelNoiseSpec, found: Tensor, labels: Tensor, num_classes: int) -> None:
    if not isinstance(found, Tensor) or found.dtype != labels.dtype or found.shape != labels.shape:
        got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise KdbenchError(
            f"label noise '{spec.name}' should return {labels.dtype} {tuple(labels.shape)}, it returned {got}"
        )
    if len(found) and not (int(found.min()) >= 0 and int(found.max()) < num_classes):
        raise KdbenchError(f"label noise '{spec.name}' returned labels outside [0, {num_classes - 1}]")


def _unrelated(noisy: Tensor, clean: Tensor) -> bool:
    """Whether labels agree with the clean ones as often as if they were of other images, or in another order."""
    n = len(clean)
    if n < ENOUGH:
        return False
    classes = 1 + max(int(noisy.max()), int(clean.max()))
    chance = float((_shares(noisy, classes) * _shares(clean, classes)).sum())
    return abs(1 - _share(noisy, clean) - chance) < SURE * math.sqrt(chance * (1 - chance) / n)


def _shares(labels: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels.cpu(), minlength=classes).double() / len(labels)


def _unrelated_error(spec: LabelNoiseSpec, realised: float, asked: str, hint: str) -> KdbenchError:
    text = (
        f"label noise '{spec.name}' made {realised:.1%} of the labels wrong, as labels of other images would; {asked}"
    )
    return KdbenchError(text, hint)
