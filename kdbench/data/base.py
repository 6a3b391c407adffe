"""What a dataset is: image sets in a canonical order, and the spec by which one is registered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.files import DOWNLOADS, cache_folder

FOLDERS = "class folders"
SOURCES = ("official archive", FOLDERS, "embedded", "generated")
OWN_NAME = "restore its files; images of your own need a data set of another name, and a suite that names it"
"""What to do about data that are not those of their name."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in canonical order: sorted by (label, SHA-256 of the pixel bytes).

    Whatever packaging the same images came in, they give the same tensors and the same ``sha256``.
    Build one with :func:`make_image_set`.
    """

    name: str
    images: Tensor
    """uint8 (N, 3, H, W)."""
    labels: Tensor
    """int64 (N,), indices into ``class_names``."""
    class_names: tuple[str, ...]
    sha256: str
    """Over shape, class names, labels and pixels: see :func:`content_hash`."""
    source_index: Tensor
    """int64 (N,): row i of this set is row ``source_index[i]`` of the source's own order.

    With the official archive that order is the one to which CIFAR-C arrays are keyed.
    """
    source: str
    """One of :data:`SOURCES`."""

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Images of each class, in the order of ``class_names``."""
        return tuple(torch.bincount(self.labels, minlength=len(self.class_names)).tolist())


def official_places(images: ImageSet) -> Tensor:
    """int64 (N,): the place of each image among all of the set in the order of its source, from 0.

    Of CIFAR's training images that is the row in the official archive, to which labels of others are keyed.

    Raises:
        KdbenchError: the images are from class folders, whose order is that of file names.
    """
    if images.source == FOLDERS:
        raise KdbenchError(
            f"the images of '{images.name}' come from class folders, whose order is that of file names: which of them "
            "an entry of the official order means is not known",
            f"use the official files of '{images.name.partition('/')[0]}'",
        )
    return images.source_index.argsort().argsort()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A test split and, unless it is for testing only, a training split over the same classes."""

    name: str
    class_names: tuple[str, ...]
    image_size: int
    train: ImageSet | None
    test: ImageSet

    @property
    def facts(self) -> DataFacts:
        """What can be said of it without its pixels."""
        train = len(self.train) if self.train is not None else None
        return DataFacts(self.name, tuple(self.class_names), self.image_size, train, len(self.test))

    @property
    def sha256(self) -> str:
        """SHA-256 over the hashes of the splits that are there."""
        parts = {"train": self.train.sha256 if self.train else None, "test": self.test.sha256}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class DataFacts:
    """What a suite, a task or a label noise may need to know of a data set, whose images are RGB."""

    name: str
    class_names: tuple[str, ...]
    """In the order of the labels."""
    image_size: int
    """Height and width in pixels."""
    train: int | None = None
    """Training images; None: it has none, or their number is not known before they are read."""
    test: int | None = None
    """Test images; None: their number is not known before they are read."""


@dataclass(frozen=True)
class DataPlace:
    """Where data are looked for and kept on this machine, and whether they may be downloaded."""

    data_dir: Path | None
    """The user's own data; None when none was named."""
    cache_dir: Path
    """Decoded images and downloads."""
    download: bool = False
    progress: bool = False
    image_size: int | None = None
    """Height and width in pixels that the spec of the set that is being loaded promises; None outside a load."""

    @classmethod
    def default(
        cls,
        data_dir: str | Path | None = None,
        *,
        cache_dir: str | Path | None = None,
        download: bool = False,
        progress: bool = False,
    ) -> DataPlace:
        """The arguments, else KDBENCH_DATA_DIR and KDBENCH_CACHE_DIR, else the user's cache folder."""
        data = data_dir or os.environ.get("KDBENCH_DATA_DIR")
        cache = Path(cache_dir).expanduser() if cache_dir else cache_folder()
        return cls(Path(data).expanduser() if data else None, cache, download, progress)

    @property
    def downloads(self) -> Path:
        """The folder that downloads go to and are found in when there is no ``data_dir``."""
        return self.cache_dir / DOWNLOADS

    @property
    def download_root(self) -> Path:
        """Where a fetch puts its archive: ``data_dir`` when there is one, else :attr:`downloads`."""
        return self.data_dir or self.downloads

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders to search, in order."""
        return (self.downloads,) if self.data_dir is None else (self.data_dir, self.downloads)


@dataclass(frozen=True)
class DatasetSpec:
    """What a plugin registers to bring a dataset; only the first four fields are needed.

    Example::

        DatasetSpec("pets", class_names=("cat", "dog"), image_size=32,
                    load=lambda place: from_class_folders(place, "pets", ("cat", "dog")))
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    load: Callable[[DataPlace], Dataset]
    fetch: Callable[[DataPlace], Path] | None = None
    """Downloads the data and returns where they lie; None when there is nothing to download."""
    available: Callable[[DataPlace], bool] | None = None
    """A cheap look whether ``load`` would find its data, without reading them; None: only ``load`` knows."""
    description: str = ""
    ood: bool = False
    """A test-only set, for models that were trained on another dataset with the same classes."""
    sha256: str | None = None
    """``Dataset.sha256`` of the complete official data: other data are refused, and so are records of others."""
    train_images: int | None = None
    """Training images of the complete set: another number is refused. None: any, or there are none."""
    test_images: int | None = None
    """Test images, likewise."""
    count: Callable[[DataPlace], tuple[int | None, int]] | None = None
    """Training images (None: no such split) and test images that ``load`` would read, from names and sizes alone;
    ``KdbenchError`` where some are missing. None: ``load`` has to be asked, which may take its time."""
    source: str = ""
    """Where the images come from and who made them, in a sentence with an address."""
    layout: str = ""
    """Where ``load`` looks in the data folder, such as "pets/{train,test}/<class>/*.png"; empty: nowhere."""
    build: Callable[[DataPlace, Path], Path] | None = None
    """Makes the data from a file or folder that the user has, and returns where they lie now; raises ``KdbenchError``
    and leaves nothing behind where it can't."""
    built_from: str = ""
    """What ``build`` takes, such as "tiny-imagenet-200.zip"."""
    files: Callable[[DataPlace], Sequence[Path]] | None = None
    """Every file and folder that decides what ``load`` returns, there or not: while names, sizes and times of all that
    is at and below them stay the same, so do the data. None: not known, and a finished run must read its data to be
    found."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Every way to get the data, in words; empty where they come with their package."""
        found = [f"`kdbench data fetch {self.name}`"] if self.fetch is not None else []
        found += [f"`{build_command(self.name, self.built_from)}`"] if self.build is not None else []
        return (*found, *([f"put into the data folder as {self.layout}"] if self.layout else []))

    @property
    def facts(self) -> DataFacts:
        """What can be said of it before its images are read."""
        return DataFacts(self.name, tuple(self.class_names), self.image_size, self.train_images, self.test_images)

    def may_be_there(self, place: DataPlace) -> bool:
        """Whether ``load`` would find its data, or only ``load`` knows."""
        return self.available is None or self.available(place)


def below(*names: str) -> Callable[[DataPlace], list[Path]]:
    """``DatasetSpec.files`` of data that are looked for under these names in a place's folders."""
    return lambda place: [root / name for root in place.roots for name in names]


def load_dataset(spec: DatasetSpec, place: DataPlace) -> Dataset:
    """``spec.load(place)``, with what it returned held against what the spec promised.

    Raises:
        KdbenchError: the data are missing or bad, or name, classes, image size, number of images or SHA-256 differ from
            the spec's.
    """
    if spec.count is not None and spec.may_be_there(place):
        check_counts(spec, *spec.count(place))  # before minutes are spent on decoding a part of the images
    dataset = spec.load(dataclasses.replace(place, image_size=spec.image_size))
    promised = (spec.name, tuple(spec.class_names), spec.image_size)
    got = (dataset.name, tuple(dataset.class_names), dataset.image_size)
    for what, want, have in zip(("name", "class names", "image size"), promised, got, strict=True):
        if want != have:
            raise KdbenchError(f"dataset '{spec.name}': its {what} should be {want}, its loader returned {have}")
    if dataset.train is None and not spec.ood:
        raise KdbenchError(
            f"dataset '{spec.name}' has no training split", "a test-only set is registered with ood=True"
        )
    for split in (dataset.train, dataset.test):
        if split is not None and tuple(split.images.shape[1:]) != (3, spec.image_size, spec.image_size):
            raise KdbenchError(
                f"dataset '{spec.name}': images of '{split.name}' should be (3, {spec.image_size}, "
                f"{spec.image_size}), they are {tuple(split.images.shape[1:])}"
            )
        if split is not None and tuple(split.class_names) != tuple(spec.class_names):
            raise KdbenchError(f"dataset '{spec.name}': classes of '{split.name}' differ from the dataset's")
    check_counts(spec, dataset.facts.train, len(dataset.test))
    if spec.sha256 is not None and dataset.sha256 != spec.sha256:
        raise KdbenchError(
            f"dataset '{spec.name}' has other images or labels than the set of that name: found SHA-256 "
            f"{dataset.sha256}, expected {spec.sha256}",
            OWN_NAME,
        )
    return dataset


def check_counts(spec: DatasetSpec, train: int | None, test: int) -> None:
    """Raise ``KdbenchError`` where the numbers of images are not those of the complete set."""
    for split, expected, found in (("training", spec.train_images, train), ("test", spec.test_images, test)):
        if expected is not None and found != expected:
            raise KdbenchError(
                f"dataset '{spec.name}' is not complete: found {found or 0:,} {split} images, expected {expected:,}",
                OWN_NAME,
            )


def content_hash(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> str:
    """SHA-256 over (shape, class names) as JSON, then labels as int64 little endian, then pixels.

    Args:
        images: uint8 (N, 3, H, W).
        labels: int64 (N,).
    """
    header = {"shape": list(images.shape), "class_names": list(class_names)}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(labels.cpu().numpy(), dtype="<i8").data)
    digest.update(np.ascontiguousarray(images.cpu().numpy()).data)
    return digest.hexdigest()


def make_image_set(
    name: str,
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    source: str = "generated",
    source_rows: Tensor | None = None,
) -> ImageSet:
    """Check images and labels, bring them into canonical order and hash them.

    Args:
        images: uint8 (N, 3, H, W), in the source's own order.
        labels: int64 (N,), values in [0, len(class_names)).
        source: one of :data:`SOURCES`.
        source_rows: int64 (N,), the row of each image in the source, when ``images`` is only a part of it.

    Raises:
        KdbenchError: a wrong dtype, shape or label, or no image at all.
    """
    _check(name, images, labels, class_names, source)
    images, labels = images.cpu().contiguous(), labels.cpu().contiguous()
    pixels = images.numpy().reshape(len(images), -1)
    digests = [hashlib.sha256(row.data).digest() for row in pixels]
    targets = labels.tolist()
    # sorted() is stable, so equal images of one class keep the source's order.
    order = torch.tensor(sorted(range(len(digests)), key=lambda i: (targets[i], digests[i])), dtype=torch.int64)
    images, labels = images[order], labels[order]
    names = tuple(class_names)
    rows = order if source_rows is None else source_rows[order]
    return ImageSet(name, images, labels, names, content_hash(images, labels, names), rows, source)


def _check(name: str, images: Tensor, labels: Tensor, class_names: Sequence[str], source: str) -> None:
    if source not in SOURCES:
        raise KdbenchError(f"image set '{name}': unknown source '{source}'", f"one of {', '.join(SOURCES)}")
    if len(set(class_names)) != len(class_names):
        raise KdbenchError(f"image set '{name}': a class name occurs twice")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise KdbenchError(
            f"image set '{name}': images should be uint8 (N, 3, H, W), they are {images.dtype} {tuple(images.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise KdbenchError(
            f"image set '{name}': labels should be int64 ({len(images)},), they are {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise KdbenchError(f"image set '{name}' is empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(class_names):
        raise KdbenchError(
            f"image set '{name}': labels should be in [0, {len(class_names) - 1}], they range over [{low}, {high}]"
        )


class MissingDataError(KdbenchError):
    """The data of a set are nowhere."""


def missing_data_error(
    name: str,
    place: DataPlace,
    looked: Sequence[str],
    *,
    official: str | None = None,
    folders: str | None = None,
    fetchable: bool = False,
    built_from: str = "",
) -> MissingDataError:
    """The error for data that are nowhere: where was looked, and every way to get them.

    Args:
        looked: the paths tried, relative to each of ``place.roots``.
        official: the folder of the official archive, such as "cifar-10-batches-py".
        folders: the class-folder layout, such as "cifar10/{train,test}/<class>/*.png".
        fetchable: whether ``kdbench data fetch NAME`` can bring it.
        built_from: what ``kdbench data build NAME --from`` takes; empty: it can't make it.
    """
    tried = ", ".join(str(root / path) for root in place.roots for path in looked)
    ways = []
    if official:
        ways.append(f"--data-dir DIR with the official files in DIR/{official}")
    if folders:
        ways.append(f"{'or ' if ways else '--data-dir DIR '}with class folders DIR/{folders}")
    if fetchable:
        ways.append(f"or run `kdbench data fetch {name}`")
    if built_from:
        ways.append(f"or run `{build_command(name, built_from)}`")
    found = _what_is_there(place, looked)
    note = f" ({found})" if found else ""
    return MissingDataError(f"the data of '{name}' were not found: looked in {tried}{note}", ", ".join(ways))


def _what_is_there(place: DataPlace, looked: Sequence[str]) -> str:
    """What is wrong with the folder that was named, in words, where that can be told."""
    there = next((root / path for root in place.roots for path in looked if (root / path).is_dir()), None)
    if there is not None:
        try:
            held = sorted(entry.name for entry in there.iterdir())
        except OSError as error:
            return f"'{there}' can't be read: {error.strerror}"
        return f"'{there}' holds {', '.join(held[:6]) or 'nothing'}{', ...' if len(held) > 6 else ''}"
    if place.data_dir is None:
        return ""
    if not place.data_dir.is_dir():
        return f"'{place.data_dir}' is not a folder"
    itself = place.data_dir.resolve().name in looked
    return f"'{place.data_dir}' seems to be the set itself: name the folder that holds it" if itself else ""


def build_command(name: str, built_from: str) -> str:
    """The command line that makes a data set from what a user has."""
    return f"kdbench data build {name} --from {built_from}"
