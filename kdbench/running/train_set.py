"""The training set of a condition: images in a fixed order, labels as observed, and what the noise did to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from kdbench.data import DataFacts, DataPlace, Dataset, ImageSet, stratified_subset, take
from kdbench.errors import KdbenchError
from kdbench.methods.context import TrainSet
from kdbench.noise import LabelNoiseSpec, NoisyLabels, observe
from kdbench.plugin.registry import Registry
from kdbench.results.record import NoiseFacts
from kdbench.specs import Condition, LabelNoise
from kdbench.tasks.context import TrainingLabels
from kdbench.training.seeds import derive_seed


def train_images(dataset: Dataset) -> ImageSet:
    """The data set's training images; an error where it has none."""
    if dataset.train is None:
        raise KdbenchError(f"dataset '{dataset.name}' has no training images", "name one that has")
    return dataset.train


def check_condition(name: str, condition: Condition, noises: Registry[LabelNoiseSpec], data: DataFacts) -> None:
    """Raise ``KdbenchError`` for what a condition asks and a data set cannot give, as far as its facts are known."""
    if condition.noise is not None:
        noises.get(condition.noise.kind).check(condition.noise, data)
    found, wanted = data.train, condition.train_size
    if found is None:
        return
    if wanted is not None and wanted > found:
        raise KdbenchError(
            f"condition '{name}' has train_size {wanted:,}, but '{data.name}' has {found:,} training images",
            f"say {found} or less, or leave it out for all of them",
        )
    images, batch = wanted or found, condition.recipe.batch_size
    if batch > images:
        raise KdbenchError(
            f"condition '{name}' has batch_size {batch:,}, but {images:,} training images of '{data.name}'",
            f"say {images} or less in its recipe",
        )


def train_set(
    dataset: Dataset, condition: Condition, noises: Registry[LabelNoiseSpec], folder: Path, place: DataPlace
) -> tuple[TrainSet, NoiseFacts | None]:
    """Training images with labels as observed under a condition, and what the noise did to them, None without noise.

    Image sets are sorted by class, so they are shuffled here, always in the same way: an example's index says nothing
    of its clean label. Images too large for memory are mapped from a file in ``folder``. Labels that exist already are
    looked for in ``place``.
    """
    source = train_images(dataset)
    index = torch.arange(len(source))
    if condition.train_size is not None:
        index = stratified_subset(source.labels, condition.train_size, condition.subset_seed)
    order = torch.Generator().manual_seed(derive_seed(condition.subset_seed, "shuffle"))
    index = index[torch.randperm(len(index), generator=order)]
    images, labels = take(source.images, index, folder), source.labels[index]
    classes = len(dataset.class_names)
    noise = condition.noise
    if noise is None:
        return TrainSet(images, labels, classes), None
    noisy = observe(noises.get(noise.kind), noise, source, index, dataset.facts, place)
    return TrainSet(images, noisy.labels, classes, noisy.realised), _facts(noise, noisy, dataset.class_names)


def _facts(noise: LabelNoise, noisy: NoisyLabels, class_names: Sequence[str]) -> NoiseFacts:
    """What the record says of a training set's labels; the confusions of those that were read, zeros left out."""
    facts = NoiseFacts(kind=noise.kind, rate=noise.rate, seed=noise.seed, realised=noisy.realised, sha256=noisy.sha256)
    if noisy.confusion is None:
        return facts
    table = {
        true: {name: count for name, count in zip(class_names, row, strict=True) if count}
        for true, row in zip(class_names, noisy.confusion.tolist(), strict=True)
    }
    read = {"count": len(noisy.labels), "file_sha256": noisy.file_sha256 or None, "confusion": table}
    return facts.model_copy(update=read)


def training_labels(
    dataset: Dataset, condition: Condition, noises: Registry[LabelNoiseSpec], folder: Path, place: DataPlace
) -> TrainingLabels:
    """A condition's training images with the labels as observed and the true ones, for measuring alone."""
    noisy, _ = train_set(dataset, condition, noises, folder, place)
    true, _ = train_set(dataset, condition.model_copy(update={"noise": None}), noises, folder, place)
    return TrainingLabels(noisy.images, noisy.labels, true.labels)
