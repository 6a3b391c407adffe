"""Photographs of any size, cut square and decoded once into a memory-mapped array.

Tens of thousands of photographs at 224x224 are 11 GB, at 299x299 twice as much, and all of the harness (label noise,
hashes, an index for each example, augmentation on the device) rests on a tensor of equal images. So each is resized and
cut once, as it would be for testing, and training draws its crops from the square that is left. What this costs against
cutting each crop again from the file: the ends of long photographs are never seen, and a small crop is magnified from
fewer pixels. What it buys: an epoch decodes nothing, every method sees the same pixels, whose hash the record has, and
memory is only what the system spares for its page cache.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError

from kdbench.data.base import DataPlace, ImageSet, content_hash
from kdbench.data.cache import FileStat, ImageCache, content_key, stat_key
from kdbench.data.decoding import UNREADABLE, check_pixels, in_threads, to_rgb
from kdbench.data.folders import count_whole
from kdbench.data.mapped import PIXELS, check_room, load_mapped, map_images, no_room_error, save_facts
from kdbench.data.regular import check_regular, link_hint, read_regular
from kdbench.errors import KdbenchError, first_line

SOURCE = "official archive"


@dataclass(frozen=True)
class Photograph:
    """One file, relative to the data set's folder, and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Cut:
    """The shorter side resized to ``shorter`` pixels (bilinear, antialiased), then the middle ``size`` x ``size``."""

    shorter: int
    size: int

    def __call__(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """uint8 (3, size, size), the same pixels as torchvision's Resize and CenterCrop of a Pillow image.

        >>> Cut(2, 2)(Image.new("L", (4, 8), 7)).tolist()
        [[[7, 7], [7, 7]], [[7, 7], [7, 7]], [[7, 7], [7, 7]]]
        """
        width, height = image.size
        check_pixels(width, height)
        least = min(width, height)
        resized = (self.shorter * width // least, self.shorter * height // least)
        check_pixels(*resized)
        colours = to_rgb(image).resize(resized, Image.Resampling.BILINEAR)
        left, top = (round((side - self.size) / 2) for side in resized)
        middle = np.asarray(colours)[top : top + self.size, left : left + self.size]
        return np.ascontiguousarray(middle.transpose(2, 0, 1))


def load_photographs(
    name: str, root: Path, photographs: Sequence[Photograph], class_names: Sequence[str], cut: Cut, place: DataPlace
) -> ImageSet:
    """Decode and cut photographs (paths relative to ``root``) once; later loads map what the cache folder holds.

    Returns:
        images uint8 (N, 3, cut.size, cut.size), mapped; in canonical order, ``source_index`` counts as ``photographs``.

    Raises:
        KdbenchError: photographs missing or unreadable, naming the first and how many, or no room in the cache folder.
    """
    cache, store = ImageCache(place.cache_dir), place.cache_dir / "photographs"
    config = f"{cut} {list(class_names)} {hashlib.sha256(bytes(str(photographs), 'utf-8')).hexdigest()}"
    listing = stat_key(root, _stats(name, root, photographs), config)
    key = cache.recall(listing)
    stored = load_mapped(store / key, name, class_names) if key else None
    if stored is not None:
        return stored
    part = store / f".part-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        part.mkdir(parents=True)
        check_room(part, 2 * 3 * cut.size**2 * len(photographs))
        images, digests = _decode(part, name, root, photographs, class_names, cut, place.progress)
        key = content_key(config, [class_names[photograph.label] for photograph in photographs], digests)
        save_facts(part, images)
        shutil.rmtree(store / key, ignore_errors=True)  # a damaged one; a mapping of it stays valid
        os.replace(part, store / key)
    except OSError as error:
        raise no_room_error(f"the photographs of '{name}'", store, error, "KDBENCH_CACHE_DIR") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    cache.remember(listing, key)
    return images


def _stats(name: str, root: Path, photographs: Sequence[Photograph]) -> list[FileStat]:
    found, missing = [], []
    for photograph in photographs:
        try:
            stat = (root / photograph.path).stat()
            check_regular(stat)
        except OSError as error:
            missing.append((photograph.path, error))
        else:
            found.append((photograph.path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    if missing:
        path, problem = root / missing[0][0], missing[0][1]
        reason = "" if isinstance(problem, FileNotFoundError) else f", which {problem.strerror}"
        raise KdbenchError(
            f"{len(missing)} of {len(photographs)} images of '{name}' are missing, the first is '{path}'{reason}",
            link_hint(path, "copy or unpack the images again"),
        )
    return found


def count_photographs(name: str, root: Path, photographs: Sequence[Photograph]) -> int:
    """How many there are; ``KdbenchError`` where some are missing or empty."""
    return count_whole(name, root, _stats(name, root, photographs))


def _decode(
    part: Path,
    name: str,
    root: Path,
    photographs: Sequence[Photograph],
    class_names: Sequence[str],
    cut: Cut,
    progress: bool,
) -> tuple[ImageSet, list[str]]:
    """The image set, its pixels in ``part``, and SHA-256 of each file; twice its size on the disk, little in memory."""
    shape = (len(photographs), 3, cut.size, cut.size)
    each = 3 * cut.size**2

    def one(place: int) -> tuple[str, bytes, str | None]:
        try:
            blob = read_regular(root / photographs[place].path)
            pixels = _pixels(blob, cut)
        except UNREADABLE as error:
            return "", b"", "no image" if isinstance(error, UnidentifiedImageError) else first_line(error)
        # Not through a mapping, where a disk that is full would end the process without a word.
        os.pwrite(unordered.fileno(), pixels.data, place * each)
        return hashlib.sha256(blob).hexdigest(), hashlib.sha256(pixels.data).digest(), None

    with (part / "unordered.u8").open("wb") as unordered:
        results = in_threads(one, range(len(photographs)), f"decoding {name}", progress)
    bad = [(photograph, problem) for photograph, (*_, problem) in zip(photographs, results, strict=True) if problem]
    if bad:
        raise KdbenchError(
            f"{len(bad)} of {len(photographs)} images of '{name}' can't be read, the first is "
            f"'{root / bad[0][0].path}': {bad[0][1]}",
            "copy or unpack the images again",
        )
    order = sorted(range(len(photographs)), key=lambda place: (photographs[place].label, results[place][1]))
    decoded = map_images(part / "unordered.u8", shape)
    with (part / PIXELS).open("wb") as file:
        for place in order:
            file.write(decoded[place].numpy().data)
    (part / "unordered.u8").unlink()
    labels = torch.tensor([photographs[place].label for place in order], dtype=torch.int64)
    images, names = map_images(part / PIXELS, shape), tuple(class_names)
    found = ImageSet(name, images, labels, names, content_hash(images, labels, names), torch.tensor(order), SOURCE)
    return found, [digest for digest, _, _ in results]


def _pixels(blob: bytes, cut: Cut) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(blob)) as image:
        return cut(image)


def read_lines(path: Path) -> list[str]:
    """The lines of a list that comes with a data set, empty ones left out.

    Raises:
        KdbenchError: it can't be read.
    """
    try:
        text = read_regular(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        hint = link_hint(path, "it comes with the data set: unpack it again")
        raise KdbenchError(f"can't read '{path}': {reason}", hint) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def first_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Where two lists part, in words: for the error about a list of classes that is not the expected one.

    >>> first_difference(["a", "c"], ["a", "b"])
    "line 2 is 'c', expected 'b'"
    """
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=False), start=1):
        if ours != theirs:
            return f"line {number} is {ours!r}, expected {theirs!r}"
    return f"it has {len(found)} lines, expected {len(expected)}"
