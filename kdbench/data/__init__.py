"""Datasets: find, fetch, check, decode once, split."""

from __future__ import annotations

from kdbench.data import cifar, cinic, digit_fonts, digits, food101, ood_imagenet, webvision
from kdbench.data.base import (
    DataFacts,
    DataPlace,
    Dataset,
    DatasetSpec,
    ImageSet,
    below,
    content_hash,
    load_dataset,
    make_image_set,
    missing_data_error,
)
from kdbench.data.cache import KdbenchWarning
from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from kdbench.data.download import extract, fetch
from kdbench.data.folders import from_class_folders
from kdbench.data.mapped import take
from kdbench.data.photographs import Cut, Photograph, load_photographs
from kdbench.data.status import DataStatus, data_status
from kdbench.data.subset import stratified_subset
from kdbench.files import user_cache_dir

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_CLASSES",
    "CIFAR100_SUPERCLASSES",
    "Cut",
    "DataFacts",
    "DataPlace",
    "DataStatus",
    "Dataset",
    "DatasetSpec",
    "ImageSet",
    "KdbenchWarning",
    "Photograph",
    "below",
    "builtin_specs",
    "content_hash",
    "data_status",
    "extract",
    "fetch",
    "from_class_folders",
    "load_dataset",
    "load_photographs",
    "make_image_set",
    "missing_data_error",
    "stratified_subset",
    "take",
    "user_cache_dir",
]


def builtin_specs() -> list[DatasetSpec]:
    """The datasets that come with kdbench."""
    return [
        *cifar.specs(),
        *cinic.specs(),
        ood_imagenet.spec(),
        digits.spec(),
        digit_fonts.spec(),
        *webvision.specs(),
        food101.spec(),
    ]
