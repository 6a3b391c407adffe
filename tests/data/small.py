"""Registered data sets that take a few images of their format: for tests that can't have the complete sets."""

from __future__ import annotations

import dataclasses

from kdbench.data import DatasetSpec
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
