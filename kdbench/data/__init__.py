"""Datasets: find, fetch, check, decode once, split."""

from __future__ import annotations

from kdbench.data import cifar, cinic, digit_fonts, digits, ood_imagenet
from kdbench.data.base import (
    DataPlace,
    Dataset,
    DatasetSpec,
    ImageSet,
    content_hash,
    load_dataset,
    make_image_set,
    missing_data_error,
    user_cache_dir,
)
from kdbench.data.cache import KdbenchWarning
from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from kdbench.data.download import extract, fetch
from kdbench.data.folders import from_class_folders
from kdbench.data.subset import stratified_subset

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_CLASSES",
    "CIFAR100_SUPERCLASSES",
    "DataPlace",
    "Dataset",
    "DatasetSpec",
    "ImageSet",
    "KdbenchWarning",
    "builtin_specs",
    "content_hash",
    "extract",
    "fetch",
    "from_class_folders",
    "load_dataset",
    "make_image_set",
    "missing_data_error",
    "stratified_subset",
    "user_cache_dir",
]


def builtin_specs() -> list[DatasetSpec]:
    """The datasets that come with kdbench."""
    return [*cifar.specs(), *cinic.specs(), ood_imagenet.spec(), digits.spec(), digit_fonts.spec()]
