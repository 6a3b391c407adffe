"""The published CIFAR-10-C and CIFAR-100-C arrays (Zenodo records 2535967 and 3555552), as far as they are there.

One file a corruption, ``<name>.npy``, uint8 (50000, 32, 32, 3): severity s of test image i is row 10000 (s - 1) + i.
Files may be absent (many folders have the 15 corruptions of the leaderboards), and a file may end after a severity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions._constants import SEVERITIES
from kdbench.corruptions._corrupt import corrupt
from kdbench.corruptions._table import NAMES, check_name, check_severity
from kdbench.data.status import DataStatus
from kdbench.errors import KdbenchError

TEST_IMAGES = 10_000
_IMAGE = (32, 32, 3)
_FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
_UNPACK = "unpack CIFAR-10-C.tar (Zenodo 2535967) or CIFAR-100-C.tar (Zenodo 3555552) again"
_OR_DELETE = f"{_UNPACK}, or delete the file, and that corruption is generated"
_LABELS = "labels.npy"
_COMPARED = 128
"""Test images by which the severities of a file that is cut short are recognised."""
_CLEARLY = 0.15
"""How much further from the expected one, in the logarithm of the mean change of a pixel, the severity must be."""


@dataclass(frozen=True)
class PublishedArrays:
    """The arrays of one data set that are there: :func:`find_published`."""

    folder: Path
    severities: Mapping[str, int]
    """Corruption to how many of its severities the file has, counted from 1; those without a file are not in it."""

    def has(self, name: str, severity: int) -> bool:
        """Whether the images of a corruption and severity are there."""
        return severity <= self.severities.get(name, 0)

    @property
    def lacking(self) -> tuple[str, ...]:
        """What is not there, by the severities that are missing: "snow", or "severities 4-5 of fog"."""
        last = SEVERITIES[-1]
        by_number: dict[int, list[str]] = {}
        for name in NAMES:
            by_number.setdefault(self.severities.get(name, 0), []).append(name)
        found = [", ".join(by_number.pop(0))] if 0 in by_number else []
        for number, names in sorted(by_number.items()):
            if number < last:
                span = f"severity {last}" if number == last - 1 else f"severities {number + 1}-{last}"
                found.append(f"{span} of {'all' if len(names) == len(NAMES) else ', '.join(names)}")
        return tuple(found)

    @property
    def origin(self) -> str:
        """Which corrupted images are measured: "published", or that and what is generated."""
        return f"published but for {'; '.join(self.lacking)}" if self.lacking else "published"

    def load(self, name: str, severity: int, rows: Tensor | None = None) -> Tensor:
        """Published images of one corruption and severity.

        Args:
            name: one of ``NAMES``.
            severity: 1 (mildest) to 5.
            rows: int64 (N,), numbers 0 ... 9999 of the test images wanted, in that order; None for all of them.

        Returns:
            uint8 (N, 3, 32, 32) on the CPU. Only the rows asked for are read from the disk.

        Raises:
            KdbenchError: an unknown name, a severity outside 1 ... 5 or not there, a file that is missing, unreadable
                or of another shape or dtype, or rows out of range.
        """
        check_name(name)
        check_severity(severity)
        array = _open_array(self.folder / f"{name}.npy")
        first = TEST_IMAGES * (severity - 1)
        block = array[first : first + TEST_IMAGES]
        if len(block) == 0:
            raise KdbenchError(f"{self.folder / name}.npy ends before severity {severity}", _UNPACK)
        if rows is not None:
            block = block[_checked_rows(rows)]
        # a copy: the mapped file is read-only and torch has no read-only tensors
        return torch.from_numpy(np.array(block.transpose(0, 3, 1, 2), order="C"))

    def check(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        """Hold the arrays against the test images of the official archive that they are of.

        Args:
            images: uint8 (N, 3, 32, 32), some or all of the test images.
            labels: int64 (N,).
            rows: int64 (N,), the number of each in the archive.

        Raises:
            KdbenchError: ``labels.npy`` has other labels, or the first rows of a file that is cut short look like
                another severity than the first.
        """
        path = self.folder / _LABELS
        if path.is_file():
            found = _read(path)
            if found.ndim != 1 or len(found) < TEST_IMAGES:
                raise KdbenchError(f"{path} has the shape {found.shape}, expected ({5 * TEST_IMAGES},)", _UNPACK)
            different = int((torch.from_numpy(np.array(found, dtype=np.int64))[rows] != labels).sum())
            if different:
                raise KdbenchError(
                    f"{path} has another label than the test images for {different:,} of {len(labels):,}",
                    f"the arrays are of another data set or in another order: {_UNPACK}",
                )
        cut = [name for name, number in self.severities.items() if number < len(SEVERITIES)]
        for name in cut:
            self._check_severities(name, images[:_COMPARED], rows[:_COMPARED])

    def _check_severities(self, name: str, images: Tensor, rows: Tensor) -> None:
        """Raise where a file's rows change pixels as later severities do: somebody kept severity 5 alone, say."""
        generator = torch.Generator().manual_seed(0)
        usual = [_change(corrupt(images, name, severity, generator=generator), images) for severity in SEVERITIES]
        number = self.severities[name]
        found = [_change(self.load(name, severity, rows), images) for severity in SEVERITIES[:number]]
        distances = [
            sum(abs(math.log(seen / usual[first + place])) for place, seen in enumerate(found)) / number
            for first in range(len(SEVERITIES) - number + 1)
        ]
        nearest = min(range(len(distances)), key=distances.__getitem__)
        if distances[0] - distances[nearest] > _CLEARLY:
            raise KdbenchError(
                f"{self.folder / name}.npy has {number * TEST_IMAGES:,} rows, expected {5 * TEST_IMAGES:,}, and the "
                f"first of them look like severity {nearest + 1}, not 1",
                _OR_DELETE,
            )


def find_published(data_dir: Path, dataset: str) -> PublishedArrays | None:
    """The published arrays for ``dataset`` in ``data_dir/CIFAR-10-C`` or ``data_dir/CIFAR-100-C``.

    Returns:
        None without that folder, and for every other data set.

    Raises:
        KdbenchError: a folder without any array, or arrays that are damaged or of another shape or dtype.
    """
    folder = published_folder(data_dir, dataset)
    if folder is None or not folder.is_dir():
        return None
    if (folder / folder.name).is_dir():  # an archive that was unpacked into a folder of its name
        folder = folder / folder.name
    # The header and the length of each; pixels are read when they are asked for.
    severities = {
        name: len(_open_array(path)) // TEST_IMAGES for name in NAMES if (path := folder / f"{name}.npy").is_file()
    }
    if not severities:
        raise KdbenchError(f"{folder} holds none of the 19 arrays, such as {NAMES[0]}.npy", _UNPACK)
    return PublishedArrays(folder, severities)


def published_folder(data_dir: Path | None, dataset: str) -> Path | None:
    """Where the published arrays for ``dataset`` would be; None for a data set that has none, or without a folder."""
    return data_dir / _FOLDERS[dataset] if data_dir is not None and dataset in _FOLDERS else None


def published_status(data_dir: Path | None) -> dict[str, DataStatus]:
    """What is there of the published arrays, by the name of their folder. What is not there is generated."""
    status = {}
    for dataset, name in _FOLDERS.items():
        try:
            found = find_published(data_dir, dataset) if data_dir is not None else None
        except KdbenchError as error:
            status[name] = DataStatus("incomplete", error.message, error.hint)
        else:
            status[name] = _status(found)
    return status


def _status(found: PublishedArrays | None) -> DataStatus:
    if found is None:
        return DataStatus("missing", "corruptions are generated")
    rest = f"; generated: {'; '.join(found.lacking)}" if found.lacking else ""
    return DataStatus("available", f"{len(found.severities)} of {len(NAMES)} arrays{rest}")


def _open_array(path: Path) -> np.ndarray:
    array = _read(path)
    whole = array.ndim == 4 and array.shape[1:] == _IMAGE and len(array) % TEST_IMAGES == 0
    if array.dtype != np.uint8 or not whole or not 1 <= len(array) // TEST_IMAGES <= len(SEVERITIES):
        raise KdbenchError(
            f"{path} is {array.dtype} {array.shape}, expected uint8 {(TEST_IMAGES * len(SEVERITIES), *_IMAGE)}",
            _OR_DELETE,
        )
    return array


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise KdbenchError(f"{path} not found", _UNPACK)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # whatever a damaged header makes the reader stumble over
        raise KdbenchError(f"{path} is no readable .npy array: {error}", _OR_DELETE) from error


def _change(images: Tensor, clean: Tensor) -> float:
    """The mean absolute change of a pixel, never 0."""
    return float((images.int() - clean.int()).abs().double().mean()) + 0.01


def _checked_rows(rows: Tensor) -> np.ndarray:
    if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool:
        raise KdbenchError(
            f"rows are {rows.dtype} of shape {tuple(rows.shape)}, expected whole numbers of shape (N,)",
            "pass the numbers of the test images, for example torch.arange(1000)",
        )
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= TEST_IMAGES):
        raise KdbenchError(
            f"rows run from {int(rows.min())} to {int(rows.max())}, expected 0 to {TEST_IMAGES - 1}",
            "rows number the test images; the severity is an argument of its own",
        )
    return np.asarray(rows.cpu().numpy())
