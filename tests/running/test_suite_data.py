from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import CIFAR10_CLASSES, DataPlace, Dataset, KdbenchWarning, load_dataset
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.running.evaluation import evaluate
from kdbench.running.suite_data import load_suite_data
from kdbench.suites import load_suite
from tests.corruptions.arrays import write_published
from tests.data.small import plugins_of_small_data


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images a class and split as CIFAR-10's class folders, and an out-of-distribution set of seven classes."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    absent = {"automobile", "deer", "truck"}
    splits = {"cifar10/train": CIFAR10_CLASSES, "cifar10/test": CIFAR10_CLASSES}
    splits["ood_imagenet/test"] = tuple(name for name in CIFAR10_CLASSES if name not in absent)
    for (split, names), number in itertools.product(splits.items(), range(2)):
        for name in names:
            path = folder / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[0, 0] = CIFAR10_CLASSES.index(name)
            Image.fromarray(pixels).save(path)
    return folder


def test_the_first_available_out_of_distribution_set_is_read_under_its_own_name(photographs: Path) -> None:
    suite = load_suite("cifar10-lite")
    assert suite.ood == ("cinic-in-test", "ood-imagenet")
    suite_data = load_suite_data(suite, plugins_of_small_data(), DataPlace.default(photographs), ood=True)
    away = suite_data.test.ood
    assert away is not None
    assert (away.name, len(away)) == ("ood-imagenet", 14)
    assert torch.equal(away.images[:, 0, 0, 0].long(), away.labels), "labels must index the data set's own classes"
    assert sorted(set(away.labels.tolist())) == [0, 2, 3, 5, 6, 7, 8]
    assert suite_data.hashes().keys() == {"cifar10", "ood-imagenet"}
    assert suite_data.hashes()["cifar10"] == suite_data.dataset.sha256
    assert suite_data.sources() == {"cifar10": "class folders", "ood-imagenet": "class folders"}
    alone = load_suite_data(suite, plugins_of_small_data(), DataPlace.default(photographs), ood=False)
    assert alone.test.ood is None


def test_what_tasks_measure_outside_the_suite_is_loaded_and_named(photographs: Path) -> None:
    suite, place = load_suite("cifar10-lite"), DataPlace.default(photographs)
    sets = ("digits", "ood-imagenet")
    suite_data = load_suite_data(suite, plugins_of_small_data(), place, ood=True, outside=sets)
    assert tuple(suite_data.test.outside) == sets
    assert suite_data.test.outside["digits"].name == "digits"
    assert suite_data.test.outside["ood-imagenet"] is suite_data.test.ood
    assert suite_data.hashes().keys() == {"cifar10", "digits", "ood-imagenet"}
    assert suite_data.sources()["digits"] == "embedded"
    assert suite_data.test.outside["digits"].class_names != suite_data.dataset.class_names


def test_a_set_of_another_image_size_is_told_before_data_are_read(photographs: Path) -> None:
    plugins = plugins_of_small_data()
    plugins.datasets.add("large", dataclasses.replace(plugins.datasets.get("digits"), name="large", image_size=64), "t")
    plugins.datasets._entries["cifar10"] = [(dataclasses.replace(plugins.datasets.get("cifar10"), load=None), "test")]
    with pytest.raises(KdbenchError, match="'large' has images of 64x64, those of 'cifar10' have 32x32 pixels"):
        suite, place = load_suite("cifar10-lite"), DataPlace.default(photographs)
        load_suite_data(suite, plugins, place, ood=False, outside=("large",))


def test_a_part_of_cifar10_is_no_data_of_a_suite_on_cifar10(photographs: Path) -> None:
    """20 training and 20 test images; then 50,000 and 10,000 were to be found, and the out-of-distribution set."""
    suite, plugins, place = load_suite("cifar10-lite"), load_plugins(), DataPlace.default(photographs)
    with pytest.raises(KdbenchError, match="'cifar10' is not complete: found 20 training images, expected 50,000"):
        load_suite_data(suite, plugins, place, ood=True)
    plugins = plugins_of_small_data()
    plugins.datasets._entries["ood-imagenet"] = [(load_plugins().datasets.get("ood-imagenet"), "test")]
    with pytest.raises(KdbenchError, match="'ood-imagenet' is not complete: found 14 test images, expected 3,500"):
        load_suite_data(suite, plugins, place, ood=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": CIFAR10_CLASSES[::-1]}, r"'other' has other classes than 'cifar10': found \('truck', "),
        ({"image_size": 40}, "'other' has other image size than 'cifar10': found 40, expected 32"),
    ],
)
def test_an_outer_set_that_does_not_fit_is_told_before_data_are_read(
    photographs: Path, changes: dict[str, Any], message: str
) -> None:
    plugins = plugins_of_small_data()
    other = dataclasses.replace(plugins.datasets.get("cifar10"), name="other", ood=True, **changes)
    plugins.datasets.add("other", other, "test")
    plugins.datasets._entries["cifar10"] = [(dataclasses.replace(plugins.datasets.get("cifar10"), load=None), "test")]
    suite = load_suite("cifar10-lite").model_copy(update={"ood": ("other",)})
    with pytest.raises(KdbenchError, match=message):
        load_suite_data(suite, plugins, DataPlace.default(photographs), ood=True)


def _as_if_from(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    def load(spec: Any, place: DataPlace) -> Dataset:
        found = load_dataset(spec, place)
        return dataclasses.replace(found, test=dataclasses.replace(found.test, source=source))

    monkeypatch.setattr("kdbench.running.suite_data.load_dataset", load)


@pytest.mark.parametrize("source", ["class folders", "official archive"])
def test_published_corruptions_are_for_the_official_order_alone(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    published = photographs / "CIFAR-10-C"
    published.mkdir(exist_ok=True)
    write_published(published, np.repeat(np.arange(10), 2))

    _as_if_from(monkeypatch, source)
    ignored = pytest.warns(KdbenchWarning, match="keyed to the order of the official archive")
    with ignored if source == "class folders" else contextlib.nullcontext():
        suite, place = load_suite("cifar10-lite"), DataPlace.default(photographs)
        suite_data = load_suite_data(suite, plugins_of_small_data(), place, ood=False)
    found = suite_data.test.published_corruptions
    assert (found and found.folder) == (published if source == "official archive" else None)


@pytest.mark.parametrize("damage", ["cut", "other labels", "empty folder"])
def test_damaged_corruptions_stop_only_what_measures_them(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    (tmp_path / "cifar10").symlink_to(photographs / "cifar10")
    published = tmp_path / "CIFAR-10-C"
    published.mkdir()
    if damage != "empty folder":
        write_published(published, np.repeat(np.arange(10), 2)[:: -1 if damage == "other labels" else 1])
    if damage == "cut":
        os.truncate(published / "fog.npy", 1000)

    _as_if_from(monkeypatch, "official archive")
    suite, plugins, place = load_suite("cifar10-lite"), plugins_of_small_data(), DataPlace.default(tmp_path)
    with pytest.raises(KdbenchError, match="no readable|other label|none of the 19"):
        load_suite_data(suite, plugins, place, ood=False)
    test = load_suite_data(suite, plugins, place, ood=False, corrupted=False).test
    assert test.corruption_images == ("published" if damage == "other labels" else "generated")


def test_corruptions_that_are_there_in_part_are_used_with_a_word(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar10").symlink_to(photographs / "cifar10")
    write_published(tmp_path / "CIFAR-10-C", np.repeat(np.arange(10), 2))
    (tmp_path / "CIFAR-10-C" / "saturate.npy").unlink()

    _as_if_from(monkeypatch, "official archive")
    suite, plugins, place = load_suite("cifar10-lite"), plugins_of_small_data(), DataPlace.default(tmp_path)
    with pytest.warns(KdbenchWarning, match="CIFAR-10-C lacks saturate: generated instead, as the record says"):
        test = load_suite_data(suite, plugins, place, ood=False).test
    assert test.corruption_images == "published but for saturate"
    assert (
        load_suite_data(suite, plugins, place, ood=False, corrupted=False).test.corruption_images
        == "published but for saturate"
    )


def test_damaged_corruptions_do_not_stop_the_measurement_of_clean_images(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar10").symlink_to(photographs / "cifar10")
    (tmp_path / "CIFAR-10-C").mkdir()
    monkeypatch.setattr("kdbench.running.evaluation.load_plugins", plugins_of_small_data)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    measured = evaluate(model, suite="cifar10-lite", tasks=["clean"], data_dir=tmp_path, device="cpu")
    assert {score.task for score in measured.scores} == {"clean"}
    with pytest.raises(KdbenchError, match="CIFAR-10-C holds none of the 19 arrays"):
        evaluate(model, suite="cifar10-lite", tasks=["corruption"], data_dir=tmp_path, device="cpu")
