"""Small image folders and official-looking archives for the data tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from kdbench.data import DataPlace, cache
from kdbench.data.cifar import CifarArchive
from tests.data.small import write_archive

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
    return write_archive
