"""What a student is shown under a condition, on a data set whose pixels say which example they are."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.data import CIFAR10_CLASSES, DataFacts, DataPlace, Dataset, ImageSet
from kdbench.errors import KdbenchError
from kdbench.methods.context import TrainSet
from kdbench.noise import LabelNoiseSpec, builtin_specs
from kdbench.plugin.registry import Registry
from kdbench.results.record import NoiseFacts
from kdbench.running.train_set import check_condition, train_images, train_set
from kdbench.specs import Condition, LabelNoise, Recipe

SIZE, CLASSES = 200, 4
PLACE = DataPlace(None, Path("nowhere"))
NAMES = tuple("abcd")


def image_set(labels: Tensor) -> ImageSet:
    """Example i is all of value i: who sees a pixel knows the example."""
    images = torch.arange(SIZE).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return ImageSet("numbered", images, labels, NAMES, "0" * 64, torch.arange(SIZE), "generated")


def dataset(labels: Tensor | None = None) -> Dataset:
    """Sorted by class like every data set, unless other labels are given."""
    sorted_labels = torch.arange(SIZE) // (SIZE // CLASSES)
    train = image_set(sorted_labels if labels is None else labels)
    return Dataset("numbered", NAMES, 8, train, train)


def noises() -> Registry[LabelNoiseSpec]:
    registry: Registry[LabelNoiseSpec] = Registry("label noise")
    for spec in builtin_specs():
        registry.add(spec.name, spec, "test")
    return registry


def made(
    data: Dataset | None = None, *, rate: float | None = None, noise_seed: int = 0, **condition: int
) -> tuple[TrainSet, NoiseFacts | None]:
    noise = None if rate is None else LabelNoise(kind="symmetric", rate=rate, seed=noise_seed)
    setting = Condition(noise=noise, recipe=Recipe(epochs=1, batch_size=1, lr=0.1), **condition)
    return train_set(data or dataset(), setting, noises(), Path(), PLACE)


def examples(data: TrainSet) -> Tensor:
    """Which example of the source each one is."""
    return data.images[:, 0, 0, 0].long()


def test_every_example_is_there_once_with_its_own_label() -> None:
    data, facts = made()
    assert facts is None
    assert data.noise_realised == 0
    assert data.num_classes == CLASSES
    assert sorted(examples(data).tolist()) == list(range(SIZE))
    assert torch.equal(data.labels, examples(data) // (SIZE // CLASSES))


def test_the_order_is_that_of_a_permutation_that_no_label_decides() -> None:
    # The seed is the first seven bytes of the SHA-256 of "<subset seed>:shuffle".
    seed = int.from_bytes(hashlib.sha256(b"0:shuffle").digest()[:7], "big")
    expected = torch.randperm(SIZE, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(examples(made()[0]), expected)
    other_labels = torch.arange(SIZE) % CLASSES
    assert torch.equal(examples(made(dataset(other_labels))[0]), expected)
    assert torch.equal(examples(made(rate=0.4)[0]), expected)


def test_an_examples_index_says_nothing_of_its_label() -> None:
    labels = made()[0].labels.double()
    index = torch.arange(SIZE).double()
    assert abs(torch.corrcoef(torch.stack([index, labels]))[0, 1]) < 0.15  # two standard errors: 1 / sqrt(200)


def test_a_part_is_stratified_and_drawn_by_its_seed() -> None:
    first, again, other = made(train_size=40)[0], made(train_size=40)[0], made(train_size=40, subset_seed=1)[0]
    assert first.labels.bincount(minlength=CLASSES).tolist() == [10] * CLASSES
    assert len(set(examples(first).tolist())) == 40
    assert torch.equal(first.images, again.images)
    assert set(examples(first).tolist()) != set(examples(other).tolist())
    assert examples(first).tolist() != sorted(examples(first).tolist()), "a part is shuffled too"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_size": 201}, "condition 'few' has train_size 201, but 'numbered' has 200 training images"),
        ({"batch": 201}, "condition 'few' has batch_size 201, but 200 training images of 'numbered'"),
        ({"batch": 51, "train_size": 50}, "condition 'few' has batch_size 51, but 50 training images"),
        ({"noise": "asymmetric-cifar10"}, "'asymmetric-cifar10' is defined for 10 classes, this dataset has 4"),
        ({"batch": 200, "train_size": 200, "noise": "symmetric"}, None),
        ({"noise": "cifar10n-worse"}, "is of the training images of 'cifar10', this dataset is 'numbered'"),
    ],
)
def test_what_a_data_set_cannot_give_is_told(changes: dict[str, Any], message: str | None) -> None:
    rate = None if changes.get("noise", "").startswith("cifar10n") else 0.1
    noise = LabelNoise(kind=changes["noise"], rate=rate) if "noise" in changes else None
    recipe = Recipe(epochs=1, batch_size=changes.get("batch", 1), lr=0.1)
    condition = Condition(noise=noise, train_size=changes.get("train_size"), recipe=recipe)
    with pytest.raises(KdbenchError, match=message) if message else contextlib.nullcontext():
        check_condition("few", condition, noises(), dataset().facts)


def test_flips_by_name_are_for_classes_of_these_names() -> None:
    """Ten digits are ten classes, and none of them is a bird."""
    condition = Condition(
        noise=LabelNoise(kind="asymmetric-cifar10", rate=0.2), recipe=Recipe(epochs=1, batch_size=1, lr=0.1)
    )
    with pytest.raises(KdbenchError, match="flips classes by name: found '0' where it expects 'airplane'"):
        check_condition("few", condition, noises(), DataFacts("digits", tuple("0123456789"), 32))
    check_condition("few", condition, noises(), DataFacts("like-cifar", CIFAR10_CLASSES, 32))


def test_noise_changes_labels_alone_and_its_facts_are_counted() -> None:
    clean, _ = made(train_size=100)
    noisy, facts = made(train_size=100, rate=0.4, noise_seed=3)
    assert torch.equal(noisy.images, clean.images)
    assert facts is not None
    assert (facts.kind, facts.rate, facts.seed) == ("symmetric", 0.4, 3)
    wrong = (noisy.labels != clean.labels).double().mean().item()
    assert 0 < wrong <= 0.4
    assert facts.realised == noisy.noise_realised == wrong
    assert facts.sha256 == hashlib.sha256(noisy.labels.numpy().astype(np.int64).tobytes()).hexdigest()


def test_noise_is_drawn_by_its_own_seed_for_the_examples_of_the_part() -> None:
    one, other = (made(rate=0.4, noise_seed=seed)[0].labels for seed in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one, made(rate=0.4)[0].labels)


def test_a_set_for_testing_alone_trains_nothing() -> None:
    tested = Dataset("away", NAMES, 8, None, image_set(torch.zeros(SIZE, dtype=torch.int64)))
    with pytest.raises(KdbenchError, match="dataset 'away' has no training images"):
        train_images(tested)
    with pytest.raises(KdbenchError, match="dataset 'away' has no training images"):
        made(tested)


def test_an_unknown_noise_is_named() -> None:
    condition = Condition(noise=LabelNoise(kind="symetric", rate=0.1), recipe=Recipe(epochs=1, batch_size=1, lr=0.1))
    with pytest.raises(KdbenchError, match="no label noise named 'symetric' .did you mean 'symmetric'"):
        train_set(dataset(), condition, noises(), Path(), PLACE)
