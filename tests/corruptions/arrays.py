"""The published arrays in their layout, without pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdbench.corruptions import NAMES

SHAPE = (50_000, 32, 32, 3)


def write_array(path: Path, shape: tuple[int, ...] = SHAPE, dtype: str = "uint8") -> np.memmap:
    """A .npy file of zeros that takes no room on the disk until written to."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


def write_published(folder: Path, labels: Sequence[int] | np.ndarray = ()) -> None:
    """The 19 arrays and ``labels.npy``, in which the first test images have these labels and the others 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        write_array(folder / f"{name}.npy")
    written = write_array(folder / "labels.npy", SHAPE[:1])
    written.reshape(5, -1)[:, : len(labels)] = labels
    written.flush()
