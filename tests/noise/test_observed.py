"""Labels that exist already meet the examples that they are of, or none."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.data import CIFAR10_CLASSES, DataFacts, DataPlace
from kdbench.data.base import official_places
from kdbench.errors import KdbenchError
from kdbench.noise import GivenLabels, LabelNoiseSpec, NoisyLabels, apply, observe
from kdbench.specs import LabelNoise
from tests.noise.numbered import clean_labels, entries, noisy_labels, numbered

SIZE = 300
ORDER = torch.randperm(SIZE, generator=torch.Generator().manual_seed(9))


def given(observed: Any, clean: Any = None, **fields: Any) -> LabelNoiseSpec:
    """A kind whose labels are these arrays, in the official order."""
    true = None if clean is None else torch.from_numpy(clean)
    found = GivenLabels(torch.from_numpy(observed), true, "ab" * 32)
    return LabelNoiseSpec("people", read=lambda noise, data, place: found, **fields)


def seen(
    spec: LabelNoiseSpec, index: Tensor = ORDER, size: int = SIZE, source: str = "official archive"
) -> NoisyLabels:
    data = numbered(size, source)
    assert data.train is not None
    return observe(spec, LabelNoise(kind="people"), data.train, index, data.facts, DataPlace(None, Path("nowhere")))


def test_each_example_gets_the_label_of_its_place_in_the_official_order() -> None:
    noisy = noisy_labels(SIZE, 0.3)
    found = seen(given(noisy, clean_labels(SIZE), share=0.3))
    images = numbered(SIZE).train
    assert images is not None
    assert not torch.equal(entries(images.images), torch.arange(SIZE)), "the data set has another order than its source"
    for row, label in zip(ORDER.tolist(), found.labels.tolist(), strict=True):
        assert label == noisy[int(entries(images.images[row : row + 1]))]
    assert found.realised == pytest.approx(0.3)
    assert found.file_sha256 == "ab" * 32


def test_a_part_of_the_examples_is_counted_by_itself() -> None:
    noisy, clean = noisy_labels(SIZE, 0.3), clean_labels(SIZE)
    part = ORDER[:70]
    found = seen(given(noisy, clean, share=0.3), part)
    images = numbered(SIZE).train
    assert images is not None
    places = entries(images.images[part]).tolist()
    confusion = np.zeros((10, 10), dtype=int)
    for place in places:
        confusion[clean[place], noisy[place]] += 1
    assert found.confusion is not None
    assert found.confusion.tolist() == confusion.tolist()
    assert found.realised == pytest.approx(np.mean(noisy[places] != clean[places]))


def test_places_are_those_among_the_images_of_the_set() -> None:
    """Training images that are some rows of a larger source, as the digits are."""
    images = numbered(SIZE).train
    assert images is not None
    object.__setattr__(images, "source_index", images.source_index * 3 + 5)
    assert torch.equal(official_places(images), entries(images.images))


def test_class_folders_are_refused_with_the_reason() -> None:
    with pytest.raises(
        KdbenchError, match="class folders, whose order is that of file names.*official files of 'cifar10'"
    ):
        seen(given(noisy_labels(SIZE, 0.3)), source="class folders")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            given(noisy_labels(SIZE, 0.3), np.roll(clean_labels(SIZE), 1)),
            "its own clean labels differ .* of 300 examples",
        ),
        (given(noisy_labels(SIZE, 0.3), share=0.2999), r"30\.0000% of its labels are wrong, published are 29\.99%"),
        (given(noisy_labels(SIZE, 0.3)[:-1]), r"should return torch.int64 \(300,\), it returned torch.int64 \(299,\)"),
        (given(noisy_labels(SIZE, 0.3) + 1), r"labels outside \[0, 9\]"),
        (given(noisy_labels(SIZE, 0.3), clean_labels(SIZE) * 2), r"labels outside \[0, 9\]"),
    ],
)
def test_labels_that_are_of_something_else(spec: LabelNoiseSpec, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        seen(spec)


def test_labels_in_another_order_are_told_though_nothing_else_gives_them_away() -> None:
    size = 2000
    images = numbered(size).train
    assert images is not None
    in_our_order = noisy_labels(size, 0.2)[images.source_index.numpy()]
    index = torch.arange(size)
    assert seen(given(noisy_labels(size, 0.2)), index, size).realised == pytest.approx(0.2)
    with pytest.raises(KdbenchError, match=r"made 9\d\.\d% of the labels wrong|made 8\d\.\d% of the labels wrong"):
        seen(given(in_our_order), index, size)


def test_a_drawn_noise_that_reads_labels_by_position_is_told() -> None:
    """What was silent: a kind that draws nothing and returns a file's labels, whatever the order of the examples."""
    size = 2000
    file = torch.from_numpy(noisy_labels(size, 0.215))
    by_position = LabelNoiseSpec("human", lambda labels, rate, classes, generator: file)
    images = numbered(size).train
    assert images is not None
    with pytest.raises(KdbenchError, match=r"of the labels wrong, as labels of other images would; a rate of 0\.215"):
        apply(by_position, images.labels, 0.215, 10, 0)
    shuffled = LabelNoiseSpec("all", lambda labels, rate, classes, generator: labels[torch.randperm(size)])
    assert apply(shuffled, images.labels, 0.9, 10, 0).realised > 0.85, "this much was asked for"


@pytest.mark.parametrize(
    ("spec", "noise", "message"),
    [
        (
            given(np.zeros(1), dataset="cifar100"),
            {},
            "is of the training images of 'cifar100', this dataset is 'cifar10'",
        ),
        (given(np.zeros(1)), {"rate": 0.2}, r"exist already and have no rate, found 0\.2"),
        (given(np.zeros(1)), {"seed": 4}, "exist already and have no seed, found 4"),
        (given(np.zeros(1), class_names=CIFAR10_CLASSES[::-1]), {}, "found 'airplane' where it expects 'truck'"),
        (LabelNoiseSpec("drawn", lambda *_: torch.zeros(1)), {}, "'drawn' needs a rate, found none"),
        (
            LabelNoiseSpec("drawn", lambda *_: torch.zeros(1)),
            {"rate": 0.1, "path": "a.npy"},
            "is drawn and has no path",
        ),
        (given(np.zeros(1), sha256="ab" * 32), {"path": "a.npy"}, "is read from a file of its own and has no path"),
    ],
)
def test_what_a_condition_may_not_ask(spec: LabelNoiseSpec, noise: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        spec.check(LabelNoise(kind=spec.name, **noise), DataFacts("cifar10", CIFAR10_CLASSES, 32))


def test_the_documented_plugin_reads_by_the_official_order(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
    [code] = re.findall(r"```python\n(def read_people.*?)```", text, re.S)
    names: dict[str, Any] = {"kdbench": kdbench, "np": np, "hashlib": hashlib}
    exec(code, names)
    (tmp_path / "people").mkdir()
    np.save(tmp_path / "people" / "cifar10.npy", noisy_labels(SIZE, 0.3))
    images = numbered(SIZE)
    assert images.train is not None
    spec = names["people"]
    found = observe(spec, LabelNoise(kind="people"), images.train, ORDER, images.facts, DataPlace(tmp_path, tmp_path))
    assert found.labels.tolist() == noisy_labels(SIZE, 0.3)[entries(images.train.images[ORDER]).numpy()].tolist()
    assert found.file_sha256 == hashlib.sha256((tmp_path / "people" / "cifar10.npy").read_bytes()).hexdigest()


def test_a_kind_is_drawn_or_read() -> None:
    for fields in ({}, {"apply": lambda *_: None, "read": lambda *_: None}):
        with pytest.raises(KdbenchError, match="should have either apply or read"):
            LabelNoiseSpec("odd", **fields)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(KdbenchError, match="'people' is read, not drawn"):
        apply(given(np.zeros(1)), torch.zeros(1, dtype=torch.int64), 0.1, 10, 0)
