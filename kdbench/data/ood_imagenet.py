"""A small out-of-distribution set for CIFAR-10 classifiers: ImageNet photographs of seven of its classes.

Made from Tiny ImageNet by CINIC-10's recipe (box filter to 32x32), and not CINIC-10: a number on it is never reported
under that name, nor one on other photographs under this name.
"""

from __future__ import annotations

from kdbench.data.base import DataPlace, Dataset, DatasetSpec
from kdbench.data.cifar_classes import CIFAR10_CLASSES
from kdbench.data.folders import count_class_folders, find_folder, from_class_folders

NAME = "ood-imagenet"
FOLDER = "ood_imagenet"


def load(place: DataPlace) -> Dataset:
    """The images in ``ood_imagenet/test/<class>``; some of the ten classes may be absent."""
    return from_class_folders(place, FOLDER, CIFAR10_CLASSES, name=NAME, splits=("test",))


def spec() -> DatasetSpec:
    """The dataset "ood-imagenet"."""
    return DatasetSpec(
        NAME,
        CIFAR10_CLASSES,
        32,
        load,
        available=lambda place: find_folder(place, FOLDER, ("test",)) is not None,
        description="ImageNet photographs of CIFAR-10 classes, 32x32; not CINIC-10",
        ood=True,
        sha256="87d445549ea6458cd7f25f366cd82d97a8d35ac539d65597448bad243b1fa77a",
        test_images=3500,
        count=lambda place: count_class_folders(place, FOLDER, CIFAR10_CLASSES, name=NAME, splits=("test",)),
    )
