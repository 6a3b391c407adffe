"""A small out-of-distribution set for CIFAR-10 classifiers: ImageNet photographs of seven of its classes.

Made from Tiny ImageNet by CINIC-10's recipe (box filter to 32x32), and not CINIC-10: a number on it is never reported
under that name, nor one on other photographs under this name.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdbench.data.base import DataPlace, Dataset, DatasetSpec, below, missing_data_error
from kdbench.data.cifar_classes import CIFAR10_CLASSES
from kdbench.data.decoding import UNREADABLE, in_threads, to_rgb
from kdbench.data.folders import count_class_folders, find_folder, from_class_folders
from kdbench.data.tiny_imagenet import ARCHIVE, SIDE, URL, Files, images_of, opened, unreadable
from kdbench.data.tiny_imagenet import SHA256 as ARCHIVE_SHA256
from kdbench.errors import KdbenchError
from kdbench.files import new_folder

NAME = "ood-imagenet"
FOLDER = "ood_imagenet"
LAYOUT = f"{FOLDER}/test/<class>/*.png"
SHA256 = "87d445549ea6458cd7f25f366cd82d97a8d35ac539d65597448bad243b1fa77a"
IMAGES = 3500
IMAGE_SIZE = 32

SYNSETS = {
    "n02814533": "automobile",  # beach wagon
    "n03100240": "automobile",  # convertible
    "n03670208": "automobile",  # limousine
    "n04285008": "automobile",  # sports car
    "n01855672": "bird",  # goose
    "n02002724": "bird",  # black stork
    "n02056570": "bird",  # king penguin
    "n02058221": "bird",  # albatross
    "n02123045": "cat",  # tabby
    "n02123394": "cat",  # Persian cat
    "n02124075": "cat",  # Egyptian cat
    "n02085620": "dog",  # Chihuahua
    "n02094433": "dog",  # Yorkshire terrier
    "n02099601": "dog",  # golden retriever
    "n02099712": "dog",  # Labrador retriever
    "n02106662": "dog",  # German shepherd
    "n02113799": "dog",  # standard poodle
    "n01641577": "frog",  # bullfrog
    "n01644900": "frog",  # tailed frog
    "n03662601": "ship",  # lifeboat
    "n03796401": "truck",  # moving van
}
"""The synsets of Tiny ImageNet that belong to a class of CIFAR-10: none is an airplane, a deer or a horse."""

DIGESTS = Path(__file__).with_name("ood_imagenet.npy")
"""uint64 (3500,), sorted: the first eight bytes of SHA-256 over the pixels (3, 32, 32) of each image of the set.

Which 500 of a class belong to it was drawn once at random, so it is kept as what the images are.
"""

Pixels = npt.NDArray[np.uint8]
Digests = npt.NDArray[np.uint64]


def load(place: DataPlace) -> Dataset:
    """The images in ``ood_imagenet/test/<class>``; some of the ten classes may be absent."""
    _check_there(place)
    return from_class_folders(place, FOLDER, CIFAR10_CLASSES, name=NAME, splits=("test",))


def count(place: DataPlace) -> tuple[int | None, int]:
    """How many images :func:`load` would read; the errors are the same."""
    _check_there(place)
    return count_class_folders(place, FOLDER, CIFAR10_CLASSES, name=NAME, splits=("test",))


def _is_there(place: DataPlace) -> bool:
    return find_folder(place, FOLDER, ("test",)) is not None


def _check_there(place: DataPlace) -> None:
    if not _is_there(place):
        raise missing_data_error(NAME, place, [FOLDER], folders=LAYOUT, built_from=ARCHIVE)


def build(place: DataPlace, source: Path, *, wanted: Digests | None = None) -> Path:
    """Make the set from Tiny ImageNet: its images of :data:`SYNSETS`, halved by a box filter, those that belong to it.

    Args:
        place: the set goes to its data folder, or to the downloads where it has none.
        source: ``tiny-imagenet-200.zip``, or the folder that it was unpacked to.
        wanted: sorted, as :data:`DIGESTS`, which it is by default.

    Returns:
        The set's folder.

    Raises:
        KdbenchError: the set is there already, ``source`` is not Tiny ImageNet or not all of it, or a folder can't be
            written. Then nothing is left behind.
    """
    target = place.download_root / FOLDER
    if target.exists():
        raise KdbenchError(f"'{target}' exists already", "move it away to build the set again")
    needed = np.load(DIGESTS, allow_pickle=False) if wanted is None else wanted
    with opened(source) as files:
        found = images_of(files, SYNSETS)
        if not found:
            raise KdbenchError(
                f"'{source}' holds none of Tiny ImageNet's images, such as train/{next(iter(SYNSETS))}/images/*.JPEG",
                f"give {ARCHIVE} from {URL} (SHA-256 {ARCHIVE_SHA256}), or the folder that it was unpacked to",
            )
        small = _chosen(files, source, found, needed, place.progress)
    if len(small) < len(needed):
        raise KdbenchError(
            f"'{source}' has {len(small):,} of the {len(needed):,} images of '{NAME}' among {len(found):,} photographs",
            f"it is not Tiny ImageNet as its authors packed it: {URL}, SHA-256 {ARCHIVE_SHA256}",
        )
    _write(target, [(SYNSETS[synset], path, pixels) for synset, path, pixels in small.values()])
    return target


def _chosen(
    files: Files, source: Path, found: list[tuple[str, str]], wanted: Digests, progress: bool
) -> dict[int, tuple[str, str, Pixels]]:
    """Digest to the synset, the path and the pixels of the images that belong to the set."""
    needed = set(wanted.tolist())

    def one(image: tuple[str, str]) -> tuple[int, Pixels] | None:
        return next(((key, pixels) for key, pixels in _halved(files, source, image[1]) if key in needed), None)

    chosen: dict[int, tuple[str, str, Pixels]] = {}
    results = in_threads(one, found, f"halving the photographs of {source.name}", progress)
    for (synset, path), result in zip(found, results, strict=True):
        if result is not None:
            chosen.setdefault(result[0], (synset, path, result[1]))
    return chosen


def _halved(files: Files, source: Path, path: str) -> list[tuple[int, Pixels]]:
    """A photograph after the box filter, uint8 (32, 32, 3), with its digest.

    Twice, because a box can be rounded once, or once a direction as ``Image.resize`` does.
    """
    try:
        with Image.open(io.BytesIO(files.read(path))) as image:
            if image.size != (SIDE, SIDE):
                raise KdbenchError(
                    f"'{path}' in '{source}' has {image.width}x{image.height} pixels, Tiny ImageNet's have "
                    f"{SIDE}x{SIDE}",
                    "ImageNet's own photographs give other pixels than the ones that Tiny ImageNet's authors cut from "
                    f"them: give {ARCHIVE} from {URL}",
                )
            colours = to_rgb(image)
    except UNREADABLE as error:
        raise unreadable(path, source, error) from error
    halved = (colours.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX), colours.reduce(SIDE // IMAGE_SIZE))
    return [(digest(pixels.transpose(2, 0, 1)), pixels) for pixels in map(np.asarray, halved)]


def digest(pixels: Pixels) -> int:
    """The first eight bytes, most significant first, of SHA-256 over uint8 (3, 32, 32)."""
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(pixels).data).digest()[:8], "big")


def _write(target: Path, images: list[tuple[str, str, Pixels]]) -> None:
    """The class folders with their images, all of them or nothing."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = new_folder(target.parent, f".{FOLDER}-")
    except OSError as error:
        raise KdbenchError(f"can't write into '{target.parent}': {error.strerror}") from error
    try:
        for number, (class_name, path, pixels) in enumerate(images):
            folder = temp / "test" / class_name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:05d}-{Path(path).stem}.png")
        os.replace(temp, target)
    except OSError as error:
        raise KdbenchError(f"can't write into '{target.parent}': {error.strerror}") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def spec() -> DatasetSpec:
    """The dataset "ood-imagenet"."""
    return DatasetSpec(
        NAME,
        CIFAR10_CLASSES,
        IMAGE_SIZE,
        load,
        available=_is_there,
        description="ImageNet photographs of CIFAR-10 classes, 32x32; not CINIC-10",
        ood=True,
        sha256=SHA256,
        test_images=IMAGES,
        count=count,
        source=f"Tiny ImageNet of Stanford's class CS231n ({URL}, SHA-256 {ARCHIVE_SHA256}), whose photographs are "
        "ImageNet's and under its terms (https://image-net.org/download: research and teaching): 500 of each of seven "
        "classes, halved to 32x32 by a box filter as CINIC-10 does it (Darlow et al. 2018, arXiv 1810.03505)",
        layout=LAYOUT,
        files=below(FOLDER),
        build=build,
        built_from=ARCHIVE,
    )
