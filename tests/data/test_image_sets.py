from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.data import (
    DataPlace,
    Dataset,
    DatasetSpec,
    ImageSet,
    builtin_specs,
    load_dataset,
    make_image_set,
    missing_data_error,
    user_cache_dir,
)
from kdbench.errors import KdbenchError

CLASSES = ("ant", "bee", "cow")


def random_set(size: int = 20, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (size, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 3, (size,), generator=generator)


def test_order_and_hash_do_not_depend_on_the_source_order() -> None:
    images, labels = random_set()
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    one = make_image_set("a", images, labels, CLASSES)
    two = make_image_set("b", images[shuffle], labels[shuffle], CLASSES)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert one.sha256 == two.sha256
    assert not torch.equal(one.source_index, two.source_index)


def test_canonical_order_is_label_then_sha256_of_pixels() -> None:
    made = make_image_set("a", *random_set(), CLASSES)
    keys = [
        (int(label), hashlib.sha256(image.numpy().tobytes()).digest())
        for image, label in zip(made.images, made.labels, strict=True)
    ]
    assert keys == sorted(keys)


def test_source_index_leads_back_to_the_source() -> None:
    images, labels = random_set()
    made = make_image_set("a", images, labels, CLASSES)
    assert torch.equal(made.images, images[made.source_index])
    assert torch.equal(made.labels, labels[made.source_index])
    part = make_image_set("a", images[5:], labels[5:], CLASSES, source_rows=torch.arange(5, 20))
    assert torch.equal(part.images, images[part.source_index])


def test_equal_images_keep_the_source_order() -> None:
    made = make_image_set("a", torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64), CLASSES)
    assert made.source_index.tolist() == [0, 1, 2, 3, 4]


def test_hash_against_an_independent_computation() -> None:
    made = make_image_set("a", *random_set(), CLASSES)
    header = json.dumps({"class_names": list(CLASSES), "shape": [20, 3, 4, 4]}, sort_keys=True).encode()
    data = header + made.labels.numpy().astype("<i8").tobytes() + made.images.numpy().tobytes()
    assert made.sha256 == hashlib.sha256(data).hexdigest()


def test_hash_sees_pixels_labels_classes_and_shape() -> None:
    images, labels = random_set()
    other_pixel, other_label = images.clone(), labels.clone()
    other_pixel[3, 1, 2, 2] ^= 1
    other_label[3] = (other_label[3] + 1) % 3
    hashes = {
        make_image_set("a", images, labels, CLASSES).sha256,
        make_image_set("a", other_pixel, labels, CLASSES).sha256,
        make_image_set("a", images, other_label, CLASSES).sha256,
        make_image_set("a", images, labels, ("ant", "bee", "dog")).sha256,
        make_image_set("a", images.reshape(20, 3, 2, 8), labels, CLASSES).sha256,
    }
    assert len(hashes) == 5


def test_class_counts_and_length() -> None:
    images, _ = random_set(5)
    made = make_image_set("a", images, torch.tensor([2, 0, 2, 2, 0]), CLASSES)
    assert (len(made), made.class_counts) == (5, (2, 0, 3))


IMAGES, LABELS = random_set(4)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "source", "expected"),
    [
        (IMAGES.float(), LABELS, CLASSES, "generated", "torch.float32"),
        (IMAGES[:, :1], LABELS, CLASSES, "generated", r"\(4, 1, 4, 4\)"),
        (IMAGES[0], LABELS, CLASSES, "generated", r"\(3, 4, 4\)"),
        (IMAGES, LABELS.int(), CLASSES, "generated", "torch.int32"),
        (IMAGES, LABELS[:3], CLASSES, "generated", r"\(3,\)"),
        (IMAGES, LABELS + 10, CLASSES, "generated", r"\[0, 2\]"),
        (IMAGES, LABELS - 3, CLASSES, "generated", r"range over \[-"),
        (IMAGES[:0], LABELS[:0], CLASSES, "generated", "empty"),
        (IMAGES, LABELS, ("ant", "ant", "cow"), "generated", "twice"),
        (IMAGES, LABELS, CLASSES, "hearsay", "hearsay"),
    ],
)
def test_bad_input_is_refused(
    images: torch.Tensor, labels: torch.Tensor, classes: tuple[str, ...], source: str, expected: str
) -> None:
    with pytest.raises(KdbenchError, match=expected):
        make_image_set("a", images, labels, classes, source)


def small_dataset(name: str = "mine", *, train: bool = True, size: int = 4) -> Dataset:
    images, labels = torch.zeros(3, 3, size, size, dtype=torch.uint8), torch.arange(3)
    split = make_image_set(name, images, labels, CLASSES)
    return Dataset(name, CLASSES, size, split if train else None, split)


def test_dataset_hash_depends_on_which_splits_are_there() -> None:
    assert small_dataset().sha256 == small_dataset("other name").sha256
    assert small_dataset().sha256 != small_dataset(train=False).sha256


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (DatasetSpec("mine", CLASSES, 4, lambda _: small_dataset("yours")), "name should be mine"),
        (DatasetSpec("mine", ("ant", "bee", "dog"), 4, lambda _: small_dataset()), "class names"),
        (DatasetSpec("mine", CLASSES, 32, lambda _: small_dataset()), "image size should be 32"),
        (DatasetSpec("mine", CLASSES, 4, lambda _: small_dataset(train=False)), "no training split"),
        (
            DatasetSpec("mine", CLASSES, 4, lambda _: replace(small_dataset(size=8), image_size=4)),
            r"should be \(3, 4, 4\)",
        ),
        (
            DatasetSpec(
                "mine", ("ant", "bee", "dog"), 4, lambda _: replace(small_dataset(), class_names=("ant", "bee", "dog"))
            ),
            "classes of 'mine' differ",
        ),
    ],
)
def test_load_dataset_holds_the_loader_to_its_spec(spec: DatasetSpec, expected: str, place: DataPlace) -> None:
    with pytest.raises(KdbenchError, match=expected):
        load_dataset(spec, place)


def test_load_dataset_passes_what_is_right(place: DataPlace) -> None:
    assert isinstance(load_dataset(DatasetSpec("mine", CLASSES, 4, lambda _: small_dataset()), place).train, ImageSet)
    ood = DatasetSpec("mine", CLASSES, 4, lambda _: small_dataset(train=False), ood=True)
    assert load_dataset(ood, place).train is None


def test_place_takes_arguments_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KDBENCH_DATA_DIR", str(tmp_path / "env-data"))
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "env-cache"))
    assert DataPlace.default() == DataPlace(tmp_path / "env-data", tmp_path / "env-cache")
    given = DataPlace.default(tmp_path / "d", cache_dir=tmp_path / "c", download=True)
    assert given == DataPlace(tmp_path / "d", tmp_path / "c", download=True)
    assert given.download_root == tmp_path / "d"


def test_place_without_any_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_DATA_DIR", raising=False)
    monkeypatch.delenv("KDBENCH_CACHE_DIR", raising=False)
    place = DataPlace.default()
    assert place.data_dir is None
    assert place.cache_dir == user_cache_dir()
    assert place.roots == (place.downloads,)


def test_user_cache_dir_by_platform(tmp_path: Path) -> None:
    assert user_cache_dir({}, "linux") == Path.home() / ".cache" / "kdbench"
    assert user_cache_dir({"XDG_CACHE_HOME": str(tmp_path)}, "linux") == tmp_path / "kdbench"
    assert user_cache_dir({"XDG_CACHE_HOME": "relative"}, "linux") == Path.home() / ".cache" / "kdbench"
    assert user_cache_dir({}, "darwin") == Path.home() / "Library" / "Caches" / "kdbench"
    assert user_cache_dir({"LOCALAPPDATA": str(tmp_path)}, "win32") == tmp_path / "kdbench" / "Cache"


def test_missing_data_error_says_where_and_all_ways(place: DataPlace) -> None:
    error = missing_data_error("x", place, ["a", "b"], official="off", folders="x/<class>", fetchable=True)
    for part in (str(place.data_dir / "a"), str(place.downloads / "b"), "DIR/off", "DIR/x/<class>", "data fetch x"):
        assert part in str(error)
    assert "\n" not in str(error)


def test_missing_data_error_points_at_a_data_dir_that_is_not_there(tmp_path: Path) -> None:
    error = missing_data_error("x", DataPlace(tmp_path / "typo", tmp_path), ["a"])
    assert f"'{tmp_path / 'typo'}' is not a folder" in error.message


def test_builtin_specs() -> None:
    specs = {spec.name: spec for spec in builtin_specs()}
    assert set(specs) == {
        "cifar10", "cifar100", "digits", "cinic-in-test", "cinic-in-all", "cinic-in-21k", "ood-imagenet",
        "digits-fonts", "food101", "webvision-mini", "webvision-mini-299", "imagenet-val-webvision50",
        "imagenet-val-webvision50-299",
    }  # fmt: skip
    assert {name for name, spec in specs.items() if spec.ood} == {
        "cinic-in-test", "cinic-in-all", "cinic-in-21k", "ood-imagenet", "digits-fonts",
        "imagenet-val-webvision50", "imagenet-val-webvision50-299",
    }  # fmt: skip
    classes = {"cifar100": 100, "food101": 101}
    for spec in specs.values():
        photographs = "webvision" in spec.name or spec.name == "food101"
        assert len(spec.class_names) == classes.get(spec.name, 50 if photographs else 10)
        assert spec.image_size == ((299 if spec.name.endswith("-299") else 224) if photographs else 32)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "cinic-in-test", "cinic-in-all", "ood-imagenet"])
def test_data_that_are_nowhere(name: str, place: DataPlace) -> None:
    spec = next(spec for spec in builtin_specs() if spec.name == name)
    assert not spec.available(place)
    with pytest.raises(KdbenchError, match=f"the data of '{name}' were not found") as caught:
        spec.load(place)
    assert "--data-dir" in caught.value.hint
    assert ("kdbench data fetch" in caught.value.hint) == (spec.fetch is not None)


def test_a_third_party_set_from_arrays(place: DataPlace) -> None:
    """The whole of what somebody else writes for a dataset of arrays."""

    def load(place: DataPlace) -> Dataset:
        pixels = torch.from_numpy(np.zeros((4, 3, 8, 8), dtype=np.uint8))
        split = make_image_set("dots", pixels, torch.tensor([0, 1, 0, 1]), ("off", "on"))
        return Dataset("dots", ("off", "on"), 8, split, split)

    assert load_dataset(DatasetSpec("dots", ("off", "on"), 8, load), place).test.class_counts == (2, 2)
