"""Registered data sets that take a few images of their format, and such files: for tests that can't have the complete
sets."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdbench.data import DatasetSpec
from kdbench.data.cifar import CIFAR10, CifarArchive
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.plugin.registry import Registry


def small(spec: DatasetSpec) -> DatasetSpec:
    """The same, and nothing said of the complete set, as of a third-party set of which nothing is known."""
    return dataclasses.replace(spec, sha256=None, train_images=None, test_images=None, count=None)


def plugins_of_small_data() -> Plugins:
    """The installed plugins, in which every data set takes a few images."""
    found: Plugins = load_plugins.__wrapped__()
    datasets: Registry[DatasetSpec] = Registry("dataset")
    for name in found.datasets:
        datasets.add(name, small(found.datasets.get(name)), found.datasets.origin(name))
    return dataclasses.replace(found, datasets=datasets)


def write_archive(
    root: Path, images: npt.NDArray[np.uint8], labels: Sequence[int], test_from: int, files: int = 2
) -> CifarArchive:
    """A small archive in CIFAR-10's official layout, described with the right MD5 sums.

    ``images`` uint8 (N, 3, 32, 32); rows from ``test_from`` on are the test split.
    """
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
    return dataclasses.replace(CIFAR10, train_files=train_names, md5=md5, sha256=None)
