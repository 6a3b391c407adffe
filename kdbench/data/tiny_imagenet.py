"""Reading Tiny ImageNet: 64x64 photographs of 200 ImageNet synsets, in the archive of its authors or unpacked.

Source: the class CS231n at Stanford, https://cs231n.stanford.edu/tiny-imagenet-200.zip. It publishes no checksum. The
SHA-256 of its 248,100,043 bytes is that of a copy on Hugging Face (cnak47/cv-datasets), of which Git LFS keeps hash and
size, and the one that several loaders of others on GitHub check. ``train/<synset>/images/<synset>_<number>.JPEG``, 500
of each synset; ``val/images`` with the synset of each of its 10,000 in ``val/val_annotations.txt``. The labels of
``test`` are not public.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from kdbench.data.folders import image_suffixes, is_clutter
from kdbench.data.regular import read_regular
from kdbench.errors import KdbenchError

ARCHIVE = "tiny-imagenet-200.zip"
URL = f"https://cs231n.stanford.edu/{ARCHIVE}"
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
SIDE = 64
ANNOTATIONS = "val_annotations.txt"
SYNSET = re.compile(r"n\d{8}")


class Files(Protocol):
    """Files by their path, with "/" as separator, whether they are packed or not."""

    def names(self) -> list[str]:
        """Every file, sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of one; ``KdbenchError`` where they can't be had."""


@dataclass(frozen=True)
class Packed:
    """The files in a zip archive."""

    archive: zipfile.ZipFile

    def names(self) -> list[str]:
        return sorted(entry.filename for entry in self.archive.infolist() if not entry.is_dir())

    def read(self, name: str) -> bytes:
        try:
            return self.archive.read(name)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
            raise unreadable(name, self.archive.filename, error) from error


@dataclass(frozen=True)
class Unpacked:
    """The files below a folder."""

    root: Path

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        try:
            return read_regular(self.root / name)
        except OSError as error:
            raise unreadable(name, self.root, error) from error


def unreadable(name: str, source: object, error: Exception) -> KdbenchError:
    """The error for a file of the archive or the folder that can't be read."""
    return KdbenchError(f"'{name}' in '{source}' can't be read: {error}", f"get it again from {URL} (SHA-256 {SHA256})")


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Files]:
    """The files of a zip archive or of a folder.

    Raises:
        KdbenchError: it is neither.
    """
    if source.is_dir():
        yield Unpacked(source)
        return
    if not source.is_file():
        raise KdbenchError(f"'{source}' is not there", f"download it from {URL} (SHA-256 {SHA256})")
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise KdbenchError(
            f"'{source}' is no whole zip archive: {error}", f"download it again from {URL} (SHA-256 {SHA256})"
        ) from error
    with archive:
        yield Packed(archive)


def images_of(files: Files, synsets: Collection[str]) -> list[tuple[str, str]]:
    """(synset, path) of the labelled images of these synsets, sorted by path.

    The synset is that of the folder, ``n01641577/`` or ``n01641577/images/``, as in the archive and where a script has
    sorted the validation images into folders; of the others it is what ``val_annotations.txt`` says.
    """
    names = [name for name in files.names() if not any(map(is_clutter, PurePosixPath(name).parts))]
    annotated = _annotations(files, names)
    found = []
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in image_suffixes():
            continue
        folders = [part for part in path.parts[:-1] if SYNSET.fullmatch(part)]
        synset = folders[-1] if folders else annotated.get(name)
        if synset in synsets:
            found.append((str(synset), name))
    return found


def _annotations(files: Files, names: Collection[str]) -> dict[str, str]:
    """Path of a validation image to its synset, as the lists say: file name, synset and a box in each line."""
    found = {}
    for name in (name for name in names if PurePosixPath(name).name == ANNOTATIONS):
        for line in files.read(name).decode("utf-8", "replace").splitlines():
            file, _, rest = line.partition("\t")
            found[str(PurePosixPath(name).with_name("images") / file)] = rest.partition("\t")[0]
    return found
