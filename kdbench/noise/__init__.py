"""Label noise: drawn from labels and a rate, or labels that exist already, such as those of people."""

from __future__ import annotations

from kdbench.noise import drawn, human, label_files
from kdbench.noise.drawn import (
    CIFAR10_FLIPS,
    asymmetric_cifar10,
    asymmetric_cifar100,
    exact_count,
    next_subclass,
    pair_flip,
    symmetric,
)
from kdbench.noise.label_files import as_labels, load_pt
from kdbench.noise.observed import NoisyLabels, apply, observe
from kdbench.noise.spec import GivenLabels, LabelNoiseSpec
from kdbench.noise.status import labels_status

__all__ = [
    "CIFAR10_FLIPS",
    "GivenLabels",
    "LabelNoiseSpec",
    "NoisyLabels",
    "apply",
    "as_labels",
    "asymmetric_cifar10",
    "asymmetric_cifar100",
    "builtin_specs",
    "exact_count",
    "labels_status",
    "load_pt",
    "next_subclass",
    "observe",
    "pair_flip",
    "symmetric",
]


def builtin_specs() -> list[LabelNoiseSpec]:
    """The kinds of label noise that come with kdbench."""
    return [*drawn.specs(), *human.specs(), label_files.spec()]
