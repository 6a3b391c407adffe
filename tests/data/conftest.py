"""Small image folders and official-looking archives for the data tests."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from kdbench.data import DataPlace, cache
from kdbench.data.cifar import CIFAR10, CifarArchive

Pixels = npt.NDArray[np.uint8]
WriteFolders = Callable[..., dict[str, Pixels]]


@pytest.fixture
def place(tmp_path: Path) -> DataPlace:
    """An empty data folder and an empty cache."""
    (tmp_path / "data").mkdir()
    return DataPlace(tmp_path / "data", tmp_path / "cache")


@pytest.fixture
def trusted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust file listings at once, however young the files are."""
    monkeypatch.setattr(cache, "RACY_NS", -(10**18))


@pytest.fixture
def write_folders() -> WriteFolders:
    """Write ``<folder>/<class>/<number>.png`` with random pixels; returns the pixels (n, H, W, 3) by class."""

    def write(folder: Path, classes: Sequence[str], per_class: int = 2, size: int = 32, seed: int = 0) -> dict:
        random = np.random.default_rng(seed)
        written = {}
        for name in classes:
            (folder / name).mkdir(parents=True)
            written[name] = random.integers(0, 256, (per_class, size, size, 3), dtype=np.uint8)
            for number, pixels in enumerate(written[name]):
                Image.fromarray(pixels).save(folder / name / f"{number:05d}.png")
        return written

    return write


@pytest.fixture
def write_official() -> Callable[..., CifarArchive]:
    """Write a small archive in CIFAR-10's official layout; returns its description with the right MD5 sums."""

    def write(root: Path, images: Pixels, labels: Sequence[int], test_from: int, files: int = 2) -> CifarArchive:
        """``images`` uint8 (N, 3, 32, 32); rows from ``test_from`` on are the test split."""
        folder = root / CIFAR10.folder
        folder.mkdir(parents=True)
        rows = images.reshape(len(images), -1)
        train_names = tuple(f"data_batch_{number + 1}" for number in range(files))
        contents: dict[str, object] = {"batches.meta": {"label_names": list(CIFAR10.class_names)}}
        for name, part in zip(train_names, np.array_split(np.arange(test_from), files), strict=True):
            contents[name] = {"data": rows[part], "labels": [int(labels[row]) for row in part]}
        contents["test_batch"] = {"data": rows[test_from:], "labels": [int(label) for label in labels[test_from:]]}
        md5 = {}
        for name, content in contents.items():
            blob = pickle.dumps(content, protocol=2)
            (folder / name).write_bytes(blob)
            md5[name] = hashlib.md5(blob, usedforsecurity=False).hexdigest()
        return replace(CIFAR10, train_files=train_names, md5=md5, sha256=None)

    return write
