"""The published CIFAR-10-C and CIFAR-100-C arrays (Zenodo records 2535967 and 3555552).

One file a corruption, ``<name>.npy``, uint8 (50000, 32, 32, 3): severity s of test image i is row 10000 (s - 1) + i.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions._constants import SEVERITIES
from kdbench.corruptions._table import NAMES, check_name, check_severity
from kdbench.data.status import DataStatus
from kdbench.errors import KdbenchError

TEST_IMAGES = 10_000
_SHAPE = (TEST_IMAGES * len(SEVERITIES), 32, 32, 3)
_FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
_UNPACK = "unpack CIFAR-10-C.tar (Zenodo 2535967) or CIFAR-100-C.tar (Zenodo 3555552) again"


def published_folder(data_dir: Path, dataset: str) -> Path | None:
    """The folder of the published arrays for ``dataset`` under ``data_dir``; None where there are none.

    Returns:
        ``data_dir/CIFAR-10-C`` or ``data_dir/CIFAR-100-C`` with all 19 arrays and ``labels.npy``; None without it, and
        for every other data set.

    Raises:
        KdbenchError: a folder in which files are missing, or arrays are damaged or of another shape or dtype.
    """
    folder = data_dir / _FOLDERS.get(dataset, "")
    if dataset not in _FOLDERS or not folder.is_dir():
        return None
    missing = [f"{name}.npy" for name in (*NAMES, "labels") if not (folder / f"{name}.npy").is_file()]
    if missing:
        raise KdbenchError(f"{folder} lacks {len(missing)} of its 20 files: {', '.join(missing)}", _UNPACK)
    for name in NAMES:
        _open_array(folder / f"{name}.npy")  # its header and its length; pixels are read when they are asked for
    return folder


def published_status(data_dir: Path | None) -> dict[str, DataStatus]:
    """What is there of the published arrays, by the name of their folder. Without them corruptions are generated."""
    found = {}
    for dataset, name in _FOLDERS.items():
        try:
            folder = published_folder(data_dir, dataset) if data_dir is not None else None
        except KdbenchError as error:
            found[name] = DataStatus("incomplete", error.message, error.hint)
        else:
            there, absent = DataStatus("available", "19 arrays"), DataStatus("missing", "corruptions are generated")
            found[name] = absent if folder is None else there
    return found


def load_published(folder: Path, name: str, severity: int, rows: Tensor | None = None) -> Tensor:
    """Published images of one corruption and severity.

    Args:
        folder: what :func:`published_folder` found.
        name: one of ``NAMES``.
        severity: 1 (mildest) to 5.
        rows: int64 (N,), numbers 0 ... 9999 of the test images wanted, in that order; None for all of them.

    Returns:
        uint8 (N, 3, 32, 32) on the CPU. Only the rows asked for are read from the disk.

    Raises:
        KdbenchError: an unknown name, a severity outside 1 ... 5, a file that is missing, unreadable or of another
            shape or dtype, or rows out of range.
    """
    check_name(name)
    check_severity(severity)
    array = _open_array(folder / f"{name}.npy")
    first = TEST_IMAGES * (severity - 1)
    block = array[first : first + TEST_IMAGES]
    if rows is not None:
        block = block[_checked_rows(rows)]
    # a copy: the mapped file is read-only and torch has no read-only tensors
    return torch.from_numpy(np.array(block.transpose(0, 3, 1, 2), order="C"))


def _open_array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise KdbenchError(f"{path} not found", _UNPACK)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise KdbenchError(f"{path} is no readable .npy array: {error}", _UNPACK) from error
    if array.dtype != np.uint8 or array.shape != _SHAPE:
        raise KdbenchError(f"{path} is {array.dtype} {array.shape}, expected uint8 {_SHAPE}", _UNPACK)
    return np.asarray(array)


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
