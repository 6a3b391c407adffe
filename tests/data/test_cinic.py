from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import CIFAR10_CLASSES, DataPlace, cinic, load_dataset
from kdbench.errors import KdbenchError

PARTS = {part.name: part for part in cinic.PARTS}
PER_CLASS = 3


def colour(split: str, label: int, number: int, imagenet: bool) -> tuple[int, int, int]:
    """Says in pixels where an image came from."""
    return cinic.SPLITS.index(split) * 50 + label, number, 255 if imagenet else 0


@pytest.fixture
def cinic_place(place: DataPlace) -> DataPlace:
    """A small CINIC-10 below a folder whose name has "cifar" in it."""
    root = place.data_dir / "with-cifar-in-its-name"
    for split in cinic.SPLITS:
        for label, name in enumerate(CIFAR10_CLASSES):
            folder = root / "CINIC-10" / split / name
            folder.mkdir(parents=True)
            # Written in falling order, so that the order on disk isn't the order of names.
            for number in reversed(range(PER_CLASS)):
                image = Image.new("RGB", (32, 32), colour(split, label, number, True))
                image.save(folder / f"n0{label}691156_{number}.png")
            other = Image.new("RGB", (32, 32), colour(split, label, 0, False))
            other.save(folder / f"cifar10-{split}-{label}.png")
            other.save(folder / f"n0{label}691156_copy.png")
    return replace(place, data_dir=root)


def load(place: DataPlace, name: str) -> torch.Tensor:
    """The colours (N, 3) of the loaded images, after checking the labels by them."""
    test = cinic.load(place, PARTS[name], per_class=PER_CLASS).test
    colours = test.images[:, :, 0, 0].int()
    assert torch.equal(colours[:, 0] % 50, test.labels.int())
    assert (colours[:, 2] == 255).all(), "an image that isn't ImageNet's"
    return colours


def test_in_test_takes_the_imagenet_images_of_the_test_split(cinic_place: DataPlace) -> None:
    colours = load(cinic_place, "cinic-in-test")
    assert len(colours) == 10 * PER_CLASS
    assert (colours[:, 0] >= 100).all()


def test_in_all_takes_all_splits(cinic_place: DataPlace) -> None:
    colours = load(cinic_place, "cinic-in-all")
    assert torch.bincount(colours[:, 0] // 50).tolist() == [10 * PER_CLASS] * 3


def test_in_21k_takes_the_first_by_file_name(cinic_place: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PARTS["cinic-in-21k"].first == 2100
    monkeypatch.setitem(PARTS, "cinic-in-21k", replace(PARTS["cinic-in-21k"], first=2))
    colours = load(cinic_place, "cinic-in-21k")
    assert len(colours) == 20
    assert sorted(set(colours[:, 1].tolist())) == [0, 1]


@pytest.mark.parametrize("name", ["cinic-in-test", "cinic-in-all"])
def test_a_wrong_count_is_an_error(cinic_place: DataPlace, name: str) -> None:
    (cinic_place.data_dir / "CINIC-10" / "test" / "deer" / "n04691156_1.png").unlink()
    with pytest.raises(KdbenchError, match=f"deer' has {PER_CLASS - 1} images .* expected {PER_CLASS}"):
        cinic.load(cinic_place, PARTS[name], per_class=PER_CLASS)
    with pytest.raises(KdbenchError, match="expected 7000"):
        cinic.load(cinic_place, PARTS[name])


def test_grey_images_become_rgb(cinic_place: DataPlace) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(cinic_place.data_dir / "CINIC-10" / "test" / "deer" / "n04691156_1.png")
    images = cinic.load(cinic_place, PARTS["cinic-in-test"], per_class=PER_CLASS).test.images
    assert (images == torch.from_numpy(pixels)).flatten(1).all(1).sum() == 1


@pytest.mark.parametrize("folder", ["cinic10", "CINIC-10"])
def test_both_folder_names_are_found(cinic_place: DataPlace, folder: str) -> None:
    root = cinic_place.data_dir
    (root / "CINIC-10").rename(root / folder)
    for spec in cinic.specs():
        assert spec.available(cinic_place)
        assert spec.fetch is not None
        assert spec.fetch(cinic_place) == root / folder  # nothing to download


def test_specs_name_their_parts(cinic_place: DataPlace) -> None:
    specs = {spec.name: spec for spec in cinic.specs()}
    assert set(specs) == set(PARTS)
    for name, spec in specs.items():
        few = {"part": PARTS[name], "per_class": PER_CLASS}
        spec = replace(spec, load=partial(cinic.load, **few), count=partial(cinic.count, **few))
        with pytest.raises(KdbenchError, match="is not complete"):
            load_dataset(spec, cinic_place)
        images = len(PARTS[name].splits) * 10 * PER_CLASS
        assert load_dataset(replace(spec, test_images=images), cinic_place).train is None


def test_the_sizes_that_the_parts_are_published_with() -> None:
    """Darlow et al. 2018: 7,000 ImageNet images of each of 10 classes in each of 3 splits; Arani's 2,100 a class."""
    sizes = {spec.name: spec.test_images for spec in cinic.specs()}
    assert sizes == {"cinic-in-test": 70_000, "cinic-in-all": 210_000, "cinic-in-21k": 21_000}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("n02691156_10168.png", True),
        ("n00000001_1.png", True),
        ("cifar10-train-1811.png", False),
        ("cifar-10-test-7.png", False),
        ("n0269115_1.png", False),
        ("n026911567_1.png", False),
        ("n02691156_.png", False),
        ("n02691156_1.png.png", False),
        ("xn02691156_1.png", False),
        ("n02691156_1.jpg", False),
    ],
)
def test_names(name: str, kept: bool) -> None:
    assert cinic.is_imagenet(name) == kept


def test_ood_imagenet_is_never_called_cinic(place: DataPlace, write_folders) -> None:
    write_folders(place.data_dir / "ood_imagenet" / "test", CIFAR10_CLASSES)
    assert not any(spec.available(place) for spec in cinic.specs())
    assert isinstance(place.data_dir, Path)
