"""The data of a suite: its training and test images, its out-of-distribution set, published corruptions; and parts of
its test images."""

from __future__ import annotations

import dataclasses
import warnings

from torch import Tensor

from kdbench import corruptions
from kdbench.data import DataPlace, Dataset, DatasetSpec, ImageSet, load_dataset, stratified_subset
from kdbench.data.base import content_hash
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.specs import Suite
from kdbench.tasks import TestData

PART_SEED = 0
"""Draws the part of the test images that is measured for all: the same for every model."""


@dataclasses.dataclass(frozen=True)
class SuiteData:
    """The data of a suite, loaded."""

    dataset: Dataset
    test: TestData
    ood: Dataset | None = None

    def hashes(self) -> dict[str, str]:
        """Data set to SHA-256."""
        return {dataset.name: dataset.sha256 for dataset in (self.dataset, self.ood) if dataset}

    def sources(self) -> dict[str, str]:
        """Data set to the packaging it was read from."""
        return {dataset.name: dataset.test.source for dataset in (self.dataset, self.ood) if dataset}

    def part(self, examples: int | None) -> Part:
        """The fixed stratified part of that many test images, and of the out-of-distribution ones (all, where these are
        fewer); None: all of both.

        Raises:
            KdbenchError: there are not so many, or fewer are asked for than there are classes.
        """
        if examples is None:
            return Part(self.test, None, None)
        whole, classes = len(self.test.test), len(self.dataset.class_names)
        if not classes <= examples <= whole:
            raise KdbenchError(
                f"examples is {examples:,}, but '{self.dataset.name}' has {whole:,} test images of {classes} classes",
                f"say {classes} to {whole}, or leave it out for all",
            )
        rows = stratified_subset(self.test.test.labels, examples, PART_SEED)
        ood = self.test.ood
        ood_rows = None if ood is None else stratified_subset(ood.labels, min(examples, len(ood)), PART_SEED)
        outside = None if ood is None or ood_rows is None else image_part(ood, ood_rows)
        data = TestData(image_part(self.test.test, rows), outside, self.test.published_corruptions)
        return Part(data, rows, ood_rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The images that are measured, and which of all they are."""

    data: TestData
    rows: Tensor | None
    """int64 (n,), ascending: of all test images; None: all of them."""
    ood_rows: Tensor | None
    """The same of the out-of-distribution images."""


def image_part(images: ImageSet, rows: Tensor) -> ImageSet:
    """These rows, int64 (n,), of an image set, under a hash of their own."""
    pixels, labels = images.images[rows], images.labels[rows]
    return dataclasses.replace(
        images,
        images=pixels,
        labels=labels,
        sha256=content_hash(pixels, labels, images.class_names),
        source_index=images.source_index[rows],
    )


def load_suite_data(suite: Suite, plugins: Plugins, place: DataPlace, *, ood: bool) -> SuiteData:
    """Load a suite's data; with ``ood`` the first of its out-of-distribution sets that is available, else the
    first that can be downloaded.

    Raises:
        KdbenchError: data are missing, incomplete or not those of their name, or don't fit each other.
    """
    spec = plugins.datasets.get(suite.dataset)
    outer = _outer(suite, spec, plugins, place) if ood else None
    dataset = _load(spec, place)
    away = _load(outer, place) if outer else None
    published = corruptions.published_folder(place.data_dir, suite.dataset) if place.data_dir else None
    if published is not None and dataset.test.source != "official archive":
        warnings.warn(
            f"{published} is keyed to the order of the official archive and '{dataset.name}' came from class folders: "
            "corruptions are generated",
            stacklevel=2,
        )
        published = None
    outside = dataclasses.replace(away.test, name=away.name) if away else None
    return SuiteData(dataset, TestData(dataset.test, outside, published), away)


def _outer(suite: Suite, spec: DatasetSpec, plugins: Plugins, place: DataPlace) -> DatasetSpec:
    """The out-of-distribution set that is used."""
    if not suite.ood:
        raise KdbenchError(f"suite '{suite.name}' has no out-of-distribution set", "name one in it, or other tasks")
    candidates = [plugins.datasets.get(name) for name in suite.ood]
    chosen = next((one for one in candidates if one.may_be_there(place)), candidates[0])
    for field, ours, theirs in (
        ("classes", tuple(spec.class_names), tuple(chosen.class_names)),
        ("image size", spec.image_size, chosen.image_size),
    ):
        if ours != theirs:
            raise KdbenchError(
                f"out-of-distribution set '{chosen.name}' has other {field} than '{spec.name}': found "
                f"{_short(theirs)}, expected {_short(ours)}",
                "name a set in the suite that has the data set's own",
            )
    return chosen


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _load(spec: DatasetSpec, place: DataPlace) -> Dataset:
    if place.data_dir is not None and not place.data_dir.is_dir():
        raise KdbenchError(
            f"data folder {place.data_dir} is not a folder", "fix --data-dir or KDBENCH_DATA_DIR, or leave it out"
        )
    return load_dataset(spec, place)
