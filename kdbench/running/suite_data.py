"""The data of a suite: its training and test images, its out-of-distribution set, published corruptions; and parts of
its test images."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from kdbench import corruptions
from kdbench.data import DataPlace, Dataset, DatasetSpec, ImageSet, KdbenchWarning, load_dataset, stratified_subset
from kdbench.data.base import content_hash
from kdbench.errors import KdbenchError, named, raised_at
from kdbench.plugin.loader import GROUP, Plugins
from kdbench.specs import Suite
from kdbench.tasks import Task, TestData

PART_SEED = 0
"""Draws the part of the test images that is measured for all: the same for every model."""


@dataclasses.dataclass(frozen=True)
class SuiteData:
    """The data of a suite, loaded."""

    dataset: Dataset
    test: TestData
    others: tuple[Dataset, ...] = ()
    """The out-of-distribution set, and what tasks measure outside the suite."""

    def hashes(self) -> dict[str, str]:
        """Data set to SHA-256."""
        return {dataset.name: dataset.sha256 for dataset in (self.dataset, *self.others)}

    def sources(self) -> dict[str, str]:
        """Data set to the packaging it was read from."""
        return {dataset.name: dataset.test.source for dataset in (self.dataset, *self.others)}

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
        data = TestData(image_part(self.test.test, rows), outside, self.test.published_corruptions, self.test.outside)
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


def needed_data(tasks: Iterable[tuple[Task, Any]]) -> dict[str, Any]:
    """What ``load_suite_data`` is to load for tasks with their settings."""
    chosen = list(tasks)
    outside = dict.fromkeys(name for task, settings in chosen for name in task.outside(settings))
    return {
        "ood": any(task.needs_ood for task, _ in chosen),
        "outside": tuple(outside),
        "corrupted": any(task.uses_corruptions for task, _ in chosen),
    }


def load_suite_data(
    suite: Suite,
    plugins: Plugins,
    place: DataPlace,
    *,
    ood: bool,
    outside: Iterable[str] = (),
    corrupted: bool = True,
) -> SuiteData:
    """Load a suite's data; with ``ood`` the first of its out-of-distribution sets that is available, else the
    first that can be downloaded; and the data sets ``outside``, whose classes need not be the suite's. Published
    corruptions that are not needed (``corrupted``) may be damaged.

    Raises:
        KdbenchError: data are missing, incomplete or not those of their name, or don't fit each other.
    """
    spec = plugins.datasets.get(suite.dataset)
    outer = _outer(suite, spec, plugins, place) if ood else None
    beside = {name: _beside(name, spec, plugins) for name in outside}
    dataset = _load(spec, plugins, place)
    away = _load(outer, plugins, place) if outer else None
    loaded = {away.name: away} if away else {}
    loaded |= {name: _load(one, plugins, place) for name, one in beside.items() if name not in loaded}
    try:
        published = _published(dataset, place, quiet=not corrupted)
    except KdbenchError:
        if corrupted:
            raise
        published = None
    tests = {name: dataclasses.replace(one.test, name=name) for name, one in loaded.items()}
    test = TestData(dataset.test, tests[away.name] if away else None, published, {name: tests[name] for name in beside})
    return SuiteData(dataset, test, tuple(loaded.values()))


def _published(dataset: Dataset, place: DataPlace, *, quiet: bool) -> corruptions.PublishedArrays | None:
    """The published corruptions of the test images, with a word where not all of them can be used."""
    found = corruptions.find_published(place.data_dir, dataset.name) if place.data_dir else None
    if found is None:
        return None
    if dataset.test.source != "official archive":
        if not quiet:
            warnings.warn(
                f"{found.folder} is keyed to the order of the official archive and '{dataset.name}' came from class "
                "folders: corruptions are generated",
                KdbenchWarning,
                stacklevel=3,
            )
        return None
    if not quiet:
        found.check(dataset.test.images, dataset.test.labels, dataset.test.source_index)
        if found.lacking:
            rest = f"{found.folder} lacks {'; '.join(found.lacking)}: generated instead, as the record says"
            warnings.warn(rest, KdbenchWarning, stacklevel=3)
    return found


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


def _beside(name: str, spec: DatasetSpec, plugins: Plugins) -> DatasetSpec:
    """A data set of whatever classes that a network of the suite's can read."""
    found = plugins.datasets.get(name)
    if found.image_size != spec.image_size:
        raise KdbenchError(
            f"data set '{name}' has images of {found.image_size}x{found.image_size}, those of '{spec.name}' have "
            f"{spec.image_size}x{spec.image_size} pixels",
            "name sets of the same image size in the task's settings",
        )
    return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _load(spec: DatasetSpec, plugins: Plugins, place: DataPlace) -> Dataset:
    if place.data_dir is not None and not place.data_dir.is_dir():
        raise KdbenchError(
            f"data folder {place.data_dir} is not a folder", "fix --data-dir or KDBENCH_DATA_DIR, or leave it out"
        )
    try:
        return load_dataset(spec, place)
    except KdbenchError:
        raise
    except (Exception, SystemExit) as error:
        origin = plugins.datasets.origin(spec.name)
        if origin.partition(" ")[0] == GROUP:
            raise
        raise KdbenchError(
            f"data set '{spec.name}' of {origin} can't be loaded: {named(error)}, at {raised_at(error)}",
            "fix it or tell its author",
        ) from error
