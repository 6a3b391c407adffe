"""Images in class folders, ``<split>/<class>/<file>.png``: matched to classes by name, never by position."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from kdbench.data.base import FOLDERS, DataPlace, Dataset, ImageSet, make_image_set, missing_data_error
from kdbench.data.cache import FileStat, ImageCache, KdbenchWarning, content_key, stat_key
from kdbench.data.decoding import decode, in_threads
from kdbench.errors import KdbenchError, unknown_name

CLUTTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
"""Files and folders that operating systems leave everywhere, in lower case."""


@dataclass(frozen=True)
class ClassFile:
    """One image file: its class, and its path relative to the split's folder."""

    class_name: str
    stat: FileStat

    @property
    def path(self) -> str:
        """Relative to the split's folder, with "/" as separator."""
        return self.stat[0]


@functools.cache
def image_suffixes() -> tuple[str, ...]:
    """Endings of the files that Pillow reads, in lower case: ".png", ".jpg", ".bmp" and many more."""
    return tuple(sorted(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN))


def is_clutter(name: str) -> bool:
    """Whether an operating system or a tool made a file or a folder, by its name.

    >>> is_clutter(".DS_Store"), is_clutter("Thumbs.db"), is_clutter("cat.png")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in CLUTTER


def list_class_folders(
    folder: Path,
    class_names: Sequence[str],
    *,
    require_all_classes: bool,
    keep: Callable[[str], bool] | None = None,
) -> list[ClassFile]:
    """The image files below ``folder/<class>/``, sorted by class and file name.

    Whatever else is there is left out with a warning that names it, but for :func:`is_clutter`.

    Args:
        class_names: the classes that may occur; a folder of another name is an error.
        require_all_classes: whether each of them must occur.
        keep: a test on the file's base name; files that fail it are skipped without a warning.

    Raises:
        KdbenchError: an unknown class folder, a class missing or without images, a class or an image that is a link to
            nothing, a folder that can't be read, or nothing there.
    """
    if not folder.is_dir():
        raise KdbenchError(f"no such folder: '{folder}'", "it should hold one folder a class")
    shown = _entries(folder)
    found = [entry.name for entry in shown if not _is_dangling(entry) and entry.is_dir()]
    others = [entry.name for entry in shown if entry.name not in found]
    dangling = [entry.name for entry in shown if entry.name in class_names and _is_dangling(entry)]
    if not found and not dangling:
        raise KdbenchError(f"'{folder}' holds no class folder", f"expected {_some(class_names)}")
    for name in found:
        if name not in class_names:
            raise unknown_name("class", name, class_names, f"the folder is '{folder / name}'")
    missing = sorted(set(class_names) - set(found) - set(dangling))
    if missing and require_all_classes:
        raise KdbenchError(
            f"'{folder}' lacks {len(missing)} of {len(class_names)} classes: {_some(missing)}",
            "every class must be there, in a folder of its name",
        )
    files: list[ClassFile] = []
    for name in found:
        entries, broken, rest = _look_into(folder, name, keep)
        if not entries and not broken:
            raise KdbenchError(f"no image in '{folder / name}'", "expected files ending in .png, .jpg or the like")
        files += [ClassFile(name, entry) for entry in entries]
        dangling += broken
        others += rest
    if dangling:
        raise KdbenchError(
            f"'{folder}' holds links to nothing ({len(dangling)} in all), the first is '{folder / dangling[0]}' to "
            f"'{os.readlink(folder / dangling[0])}'",
            "restore what they point to, or delete them",
        )
    if others:
        warnings.warn(
            f"'{folder}' holds {len(others)} entries that are no image of a class and are left out: {_some(others)}",
            KdbenchWarning,
            stacklevel=2,
        )
    return files


def _look_into(
    folder: Path, class_name: str, keep: Callable[[str], bool] | None
) -> tuple[list[FileStat], list[str], list[str]]:
    """The image files in the folder of a class, images that are links to nothing, and what else is there."""
    images, dangling, others = list[FileStat](), list[str](), list[str]()
    for entry in _entries(folder / class_name):
        path = f"{class_name}/{entry.name}"
        if keep is not None and not keep(entry.name):
            continue
        named = entry.name.lower().endswith(image_suffixes())
        if named and _is_dangling(entry):
            dangling.append(path)
        elif named and entry.is_file():
            stat = entry.stat()
            images.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        else:
            others.append(path)
    return images, dangling, others


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds but for clutter, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_clutter(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise KdbenchError(f"can't read the folder '{folder}': {error.strerror}") from error


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing or to itself, of which ``is_file`` and ``is_dir`` may raise."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _some(names: Sequence[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def load_files(
    name: str,
    root: Path,
    files: Sequence[ClassFile],
    class_names: Sequence[str],
    image_size: int,
    place: DataPlace,
) -> ImageSet:
    """Decode ``files`` (paths relative to ``root``) once; later loads come from the cache.

    Returns:
        images uint8 (N, 3, image_size, image_size); ``source_index`` counts in the order of ``files``.
    """
    cache = ImageCache(place.cache_dir)
    config = f"{image_size} {list(class_names)}"
    listing = stat_key(root, [file.stat for file in files], config)
    key = cache.recall(listing)
    cached = cache.load(key, name, class_names) if key else None
    if cached is not None:
        return cached
    paths = [root / file.path for file in files]
    blobs = in_threads(_read_bytes, paths, f"reading {name}", place.progress)
    digests = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    fresh_key = content_key(config, [file.class_name for file in files], digests)
    # A file that was found damaged a moment ago is not tried a second time.
    images = cache.load(fresh_key, name, class_names) if fresh_key != key else None
    if images is None:
        pixels = decode(paths, blobs, image_size, name=name, progress=place.progress)
        position = {class_name: index for index, class_name in enumerate(class_names)}
        labels = torch.tensor([position[file.class_name] for file in files], dtype=torch.int64)
        images = make_image_set(name, pixels, labels, class_names, FOLDERS)
        cache.store(fresh_key, images)
    cache.remember(listing, fresh_key)
    return images


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KdbenchError(f"can't read '{path}': {error.strerror}") from error


def from_class_folders(
    place: DataPlace,
    folder: str,
    class_names: Sequence[str],
    *,
    image_size: int | None = None,
    name: str | None = None,
    splits: Sequence[str] = ("train", "test"),
) -> Dataset:
    """The dataset in ``<data_dir>/<folder>/<split>/<class>/*.png``, or of any other format that Pillow reads.

    Args:
        class_names: the order of the labels; folders are matched to it by name.
        image_size: height and width that every image must have; nothing is resized. None: what the ``DatasetSpec`` says
            that is being loaded, 32 where there is none.
        name: the dataset's name, ``folder`` if not given.
        splits: ("train", "test"), or ("test",) for a test-only set, which may then lack some of the classes.

    Raises:
        KdbenchError: data missing, unknown or missing classes, unreadable images or wrong sizes.
    """
    name = name or folder
    root = _folder_of(name, place, folder, splits)
    image_size = image_size or place.image_size or 32
    loaded = {
        split: load_files(f"{name}/{split}", root / split, files, class_names, image_size, place)
        for split, files in _list_splits(root, class_names, splits).items()
    }
    return Dataset(name, tuple(class_names), image_size, loaded.get("train"), loaded["test"])


def count_class_folders(
    place: DataPlace,
    folder: str,
    class_names: Sequence[str],
    *,
    name: str | None = None,
    splits: Sequence[str] = ("train", "test"),
) -> tuple[int | None, int]:
    """How many training (None without that split) and test images :func:`from_class_folders` would read.

    Raises:
        KdbenchError: data missing, unknown or missing classes.
    """
    root = _folder_of(name or folder, place, folder, splits)
    counts = {
        split: count_whole(f"{name or folder}/{split}", root / split, [file.stat for file in files])
        for split, files in _list_splits(root, class_names, splits).items()
    }
    return counts.get("train"), counts["test"]


def count_whole(name: str, root: Path, stats: Sequence[FileStat]) -> int:
    """How many files there are; ``KdbenchError`` where some are empty, as a copy that broke off leaves them."""
    empty = [path for path, size, *_ in stats if size == 0]
    if empty:
        raise KdbenchError(
            f"{len(empty)} of {len(stats)} files of '{name}' are empty, the first is '{root / empty[0]}'",
            "copy or unpack the images again",
        )
    return len(stats)


def _list_splits(root: Path, class_names: Sequence[str], splits: Sequence[str]) -> dict[str, list[ClassFile]]:
    every = "train" in splits
    return {split: list_class_folders(root / split, class_names, require_all_classes=every) for split in splits}


def _folder_of(name: str, place: DataPlace, folder: str, splits: Sequence[str]) -> Path:
    root = find_folder(place, folder, splits)
    if root is None:
        layout = "{" + ",".join(splits) + "}" if len(splits) > 1 else splits[0]
        raise missing_data_error(name, place, [folder], folders=f"{folder}/{layout}/<class>/*.png")
    return root


def find_folder(place: DataPlace, folder: str, splits: Sequence[str]) -> Path | None:
    """The first ``<root>/<folder>`` of the place that has any of the splits."""
    return next((root / folder for root in place.roots if has_splits(root / folder, splits)), None)


def has_splits(folder: Path, splits: Sequence[str]) -> bool:
    """Whether ``folder`` has any of the splits."""
    return any((folder / split).is_dir() for split in splits)
