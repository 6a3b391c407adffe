"""CIFAR-10 and CIFAR-100, from the official Python archives or from class folders of the same images.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. The MD5 sums of the files are those
that torchvision pins, the SHA-256 sums of the archives those of Keras.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kdbench.data import download
from kdbench.data.base import DataPlace, Dataset, DatasetSpec, ImageSet, below, make_image_set, missing_data_error
from kdbench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from kdbench.data.folders import count_class_folders, from_class_folders, has_splits
from kdbench.data.regular import link_hint, read_regular
from kdbench.data.unpickle import restricted_loads
from kdbench.errors import KdbenchError

IMAGE_SIZE = 32
TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
SPLITS = ("train", "test")


@dataclass(frozen=True)
class CifarArchive:
    """One of the two official archives: its files, their checksums and where to download it."""

    name: str
    class_names: tuple[str, ...]
    folder: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    meta_file: str
    labels_key: str
    names_key: str
    md5: Mapping[str, str]
    """MD5 of each file in ``folder``; a file that differs is refused before it is unpickled."""
    urls: tuple[str, ...]
    checksum: str
    """Of the archive as downloaded, "sha256:..."."""
    sha256: str | None = None
    """``Dataset.sha256`` of the complete set."""


CIFAR10 = CifarArchive(
    name="cifar10",
    class_names=CIFAR10_CLASSES,
    folder="cifar-10-batches-py",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    meta_file="batches.meta",
    labels_key="labels",
    names_key="label_names",
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    ),
    checksum="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    sha256="10a2c48dd4dacd84a43bb1e2e9288e98c18c1fb768cedf131fbbf2fa7dfaec4e",
)

CIFAR100 = CifarArchive(
    name="cifar100",
    class_names=CIFAR100_CLASSES,
    folder="cifar-100-python",
    train_files=("train",),
    test_files=("test",),
    meta_file="meta",
    labels_key="fine_labels",
    names_key="fine_label_names",
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-100-python.tar.gz",
    ),
    checksum="sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    sha256="808e83fd72aafeb7c869e51c91c487ab53d31851c00d0a6669fe6537abd5a833",
)


def load(place: DataPlace, archive: CifarArchive) -> Dataset:
    """The dataset from the first source that is there.

    In order: official files in ``data_dir``, class folders in ``data_dir``, both in the downloads, a download if
    ``place.download``.

    Raises:
        KdbenchError: nothing is there, or what is there is damaged or incomplete.
    """
    for root in place.roots:
        if (root / archive.folder).is_dir():
            return load_official(root / archive.folder, archive)
        if has_splits(root / archive.name, SPLITS):
            here = replace(place, data_dir=root)
            return from_class_folders(here, archive.name, archive.class_names, image_size=IMAGE_SIZE)
    if place.download:
        return load_official(fetch(place, archive), archive)
    raise _missing(place, archive)


def _missing(place: DataPlace, archive: CifarArchive) -> KdbenchError:
    return missing_data_error(
        archive.name,
        place,
        [archive.folder, archive.name],
        official=archive.folder,
        folders=f"{archive.name}/{{train,test}}/<class>/*.png",
        fetchable=True,
    )


def count(place: DataPlace, archive: CifarArchive) -> tuple[int | None, int]:
    """How many training and test images :func:`load` would read without downloading.

    Raises:
        KdbenchError: nothing is there, an official file is missing or has another MD5, or a class folder is missing.
    """
    for root in place.roots:
        folder = root / archive.folder
        if folder.is_dir():
            _read(folder, archive.meta_file, archive)
            train, test = (
                sum(len(_read(folder, file, archive)[archive.labels_key]) for file in files)
                for files in (archive.train_files, archive.test_files)
            )
            return train, test
        if has_splits(root / archive.name, SPLITS):
            return count_class_folders(replace(place, data_dir=root), archive.name, archive.class_names)
    raise _missing(place, archive)


def available(place: DataPlace, archive: CifarArchive) -> bool:
    """Whether :func:`load` would find a source without downloading."""
    return any((root / archive.folder).is_dir() or has_splits(root / archive.name, SPLITS) for root in place.roots)


def fetch(place: DataPlace, archive: CifarArchive) -> Path:
    """Download and unpack the official archive, unless it is there; returns its folder."""
    target = place.download_root / archive.folder
    if target.is_dir():
        return target
    packed = download.fetch(
        archive.urls,
        place.download_root / archive.urls[0].rsplit("/", 1)[-1],
        checksum=archive.checksum,
        progress=place.progress,
    )
    return download.extract(packed, target)


def load_official(folder: Path, archive: CifarArchive) -> Dataset:
    """Read the official files after checking their MD5; ``source_index`` counts in the archive's order.

    Raises:
        KdbenchError: a file is missing, its MD5 differs, it isn't the pickle it should be, or its class names aren't
            the expected ones.
    """
    meta = _read(folder, archive.meta_file, archive)
    names = tuple(meta.get(archive.names_key, ()))
    if names != archive.class_names:
        raise KdbenchError(f"'{folder / archive.meta_file}' lists other classes than {archive.name} has")
    splits = {
        split: _load_split(f"{archive.name}/{split}", folder, files, archive)
        for split, files in (("train", archive.train_files), ("test", archive.test_files))
    }
    return Dataset(archive.name, archive.class_names, IMAGE_SIZE, splits["train"], splits["test"])


def _load_split(name: str, folder: Path, files: tuple[str, ...], archive: CifarArchive) -> ImageSet:
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    for file in files:
        batch = _read(folder, file, archive)
        data: Any = batch.get("data")
        targets: Any = batch.get(archive.labels_key)
        if not _is_batch(data, targets):
            raise KdbenchError(f"'{folder / file}' doesn't hold uint8 images (N, 3072) and a list of N labels")
        pixels.append(data)
        labels += targets
    images = torch.from_numpy(np.concatenate(pixels)).reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return make_image_set(
        name, images, torch.tensor(labels, dtype=torch.int64), archive.class_names, "official archive"
    )


def _is_batch(data: Any, targets: Any) -> bool:
    return (
        isinstance(data, np.ndarray)
        and data.dtype == np.uint8
        and data.ndim == 2
        and data.shape[1] == 3 * IMAGE_SIZE**2
        and isinstance(targets, list)
        and all(isinstance(target, int) for target in targets)
        and len(targets) == len(data)
    )


def _read(folder: Path, file: str, archive: CifarArchive) -> dict[str, Any]:
    path = folder / file
    try:
        blob = read_regular(path)
    except OSError as error:
        raise KdbenchError(f"can't read '{path}': {error.strerror}", link_hint(path, _again(archive))) from error
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    if md5 != archive.md5[file]:
        raise KdbenchError(
            f"'{path}' is not the official file: its MD5 is {md5}, expected {archive.md5[file]}", _again(archive)
        )
    content = restricted_loads(blob, path)
    if not isinstance(content, dict):
        raise KdbenchError(f"'{path}' holds a {type(content).__name__}, expected a dict", _again(archive))
    return content


def _again(archive: CifarArchive) -> str:
    return f"move the folder away, then unpack the official archive again, or run `kdbench data fetch {archive.name}`"


def specs() -> list[DatasetSpec]:
    """The datasets "cifar10" and "cifar100"."""
    return [
        DatasetSpec(
            archive.name,
            archive.class_names,
            IMAGE_SIZE,
            load=partial(load, archive=archive),
            fetch=partial(fetch, archive=archive),
            available=partial(available, archive=archive),
            description=f"{title}: 50,000 training and 10,000 test images",
            sha256=archive.sha256,
            train_images=TRAIN_IMAGES,
            test_images=TEST_IMAGES,
            count=partial(count, archive=archive),
            source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html; "
            f"{archive.urls[0].rsplit('/', 1)[-1]}, {download.in_words(archive.checksum)}",
            layout=f"{archive.folder}/ (the official Python files) or {archive.name}/{{train,test}}/<class>/*.png",
            files=below(archive.folder, archive.name),
        )
        for archive, title in ((CIFAR10, "CIFAR-10"), (CIFAR100, "CIFAR-100"))
    ]
