"""The ImageNet part of CINIC-10, for testing models that were trained on CIFAR-10 out of their distribution.

Source: Darlow et al. 2018, "CINIC-10 is not ImageNet or CIFAR-10" (arXiv 1810.03505). CINIC-10 mixes CIFAR-10 images
with downsampled ImageNet images; only the latter are used, because its CIFAR part holds training images.

Its archive is known by an MD5 alone: no two independent sources give a SHA-256. It comes over HTTPS, and the MD5 finds
out a damaged download; it is no defence against a forged one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kdbench.data import download
from kdbench.data.base import DataPlace, Dataset, DatasetSpec, below, missing_data_error
from kdbench.data.cifar_classes import CIFAR10_CLASSES
from kdbench.data.folders import ClassFile, count_whole, has_splits, list_class_folders, load_files
from kdbench.errors import KdbenchError

FOLDERS = ("CINIC-10", "cinic10", "cinic-10", "CINIC10")
SPLITS = ("train", "valid", "test")
PER_CLASS = 7000
"""ImageNet images of each class in each split."""

# The whole name, and only the base name: the folder's name may well contain "cifar".
IMAGENET_NAME = re.compile(r"n\d{8}_\d+\.png")

URLS = (
    "https://datashare.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz",
    "https://datashare.ed.ac.uk/server/api/core/bitstreams/e8e186cc-2688-48f1-aa5a-3fda1a43f8b6/content",
    "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz",
)
CHECKSUM = "md5:6ee4d0c996905fe93221de577967a372"


@dataclass(frozen=True)
class CinicPart:
    """A choice among CINIC-10's ImageNet images."""

    name: str
    splits: tuple[str, ...]
    first: int | None
    """Only so many of each class, the first by file name; None for all."""
    description: str


PARTS = (
    CinicPart("cinic-in-test", ("test",), None, "CINIC-10's 70,000 ImageNet images of the test split"),
    CinicPart("cinic-in-all", SPLITS, None, "CINIC-10's 210,000 ImageNet images of all three splits"),
    CinicPart("cinic-in-21k", ("test",), 2100, "the first 2,100 of each class of cinic-in-test"),
)


def is_imagenet(base_name: str) -> bool:
    """Whether a file of CINIC-10 comes from ImageNet, by its base name.

    >>> is_imagenet("n02691156_10168.png"), is_imagenet("cifar10-train-1811.png")
    (True, False)
    """
    return IMAGENET_NAME.fullmatch(base_name) is not None


def load(place: DataPlace, part: CinicPart, *, per_class: int = PER_CLASS) -> Dataset:
    """The ImageNet images of ``CINIC-10/{train,valid,test}/<class>/``.

    Args:
        per_class: the number of ImageNet images that each class of each split must have.

    Raises:
        KdbenchError: the data are missing, or a class has another number of ImageNet images.
    """
    if _find(place) is None and place.download:
        fetch(place)
    root, files = _listing(place, part, per_class)
    return Dataset(part.name, CIFAR10_CLASSES, 32, None, load_files(part.name, root, files, CIFAR10_CLASSES, 32, place))


def count(place: DataPlace, part: CinicPart, *, per_class: int = PER_CLASS) -> tuple[int | None, int]:
    """How many images :func:`load` would read; the errors are the same."""
    root, files = _listing(place, part, per_class)
    return None, count_whole(part.name, root, [file.stat for file in files])


def _listing(place: DataPlace, part: CinicPart, per_class: int) -> tuple[Path, list[ClassFile]]:
    """The folder, and the files of the part."""
    root = _find(place)
    if root is None:
        raise missing_data_error(
            part.name,
            place,
            FOLDERS[:2],
            folders="CINIC-10/{train,valid,test}/<class>/*.png",
            fetchable=True,
        )
    files: list[ClassFile] = []
    for split in part.splits:
        found = list_class_folders(root / split, CIFAR10_CLASSES, require_all_classes=True, keep=is_imagenet)
        _check_counts(root / split, found, per_class)
        files += [replace(file, stat=(f"{split}/{file.path}", *file.stat[1:])) for file in found]
    if part.first is not None:
        files = _first_of_each_class(files, part.first)
    return root, files


def _check_counts(folder: Path, files: Sequence[ClassFile], expected: int) -> None:
    counts = Counter(file.class_name for file in files)
    for name, count in counts.items():
        if count != expected:
            raise KdbenchError(
                f"'{folder / name}' has {count} images named like ImageNet's, expected {expected}",
                "unpack CINIC-10.tar.gz again, nothing added or removed",
            )


def _first_of_each_class(files: Sequence[ClassFile], number: int) -> list[ClassFile]:
    by_class: defaultdict[str, list[ClassFile]] = defaultdict(list)
    for file in files:
        by_class[file.class_name].append(file)
    return [file for members in by_class.values() for file in sorted(members, key=lambda f: f.path)[:number]]


def _find(place: DataPlace) -> Path | None:
    candidates = (root / folder for root in place.roots for folder in FOLDERS)
    return next((folder for folder in candidates if has_splits(folder, SPLITS)), None)


def fetch(place: DataPlace) -> Path:
    """Download and unpack CINIC-10 (650 MB), unless it is there; returns its folder."""
    found = _find(place)
    if found is not None:
        return found
    root = place.download_root
    packed = download.fetch(URLS, root / "CINIC-10.tar.gz", checksum=CHECKSUM, progress=place.progress)
    return download.extract(packed, root / FOLDERS[0])


def specs() -> list[DatasetSpec]:
    """The datasets "cinic-in-test", "cinic-in-all" and "cinic-in-21k"."""
    return [
        DatasetSpec(
            part.name,
            CIFAR10_CLASSES,
            32,
            load=partial(load, part=part),
            fetch=fetch,
            available=lambda place: _find(place) is not None,
            description=part.description,
            ood=True,
            test_images=(part.first or PER_CLASS * len(part.splits)) * len(CIFAR10_CLASSES),
            count=partial(count, part=part),
            source="CINIC-10 (Darlow et al. 2018, arXiv 1810.03505; https://datashare.ed.ac.uk/handle/10283/3192), of "
            "it the photographs of ImageNet, downsampled to 32x32 by a box filter; CINIC-10.tar.gz, "
            f"{download.in_words(CHECKSUM)}",
            layout=f"{FOLDERS[0]}/{{train,valid,test}}/<class>/*.png",
            files=below(*FOLDERS),
        )
        for part in PARTS
    ]
