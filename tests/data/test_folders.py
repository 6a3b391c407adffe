from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import (
    CIFAR10_CLASSES,
    DataPlace,
    Dataset,
    DatasetSpec,
    KdbenchWarning,
    builtin_specs,
    from_class_folders,
    load_dataset,
)
from kdbench.data.folders import count_class_folders
from kdbench.errors import KdbenchError
from tests.data.small import small

PETS = ("cat", "dog")


def image_of(images: torch.Tensor, pixels: np.ndarray) -> int:
    """Where ``pixels`` (H, W, 3) stand among ``images`` (N, 3, H, W)."""
    same = (images == torch.from_numpy(pixels).permute(2, 0, 1)).flatten(1).all(1)
    assert int(same.sum()) == 1
    return int(same.nonzero())


def test_every_image_has_the_label_of_its_folder(place: DataPlace, write_folders) -> None:
    write_folders(place.data_dir / "pets" / "train", PETS, seed=1)
    written = write_folders(place.data_dir / "pets" / "test", PETS, per_class=3, seed=2)
    data = from_class_folders(place, "pets", ("dog", "cat"))
    assert (len(data.train), len(data.test)) == (4, 6)
    assert data.test.source == "class folders"
    for name, images in written.items():
        for pixels in images:
            assert data.test.labels[image_of(data.test.images, pixels)] == ("dog", "cat").index(name)


def test_seven_of_ten_classes_are_matched_by_name(place: DataPlace, write_folders) -> None:
    present = ("automobile", "bird", "cat", "dog", "frog", "ship", "truck")
    written = write_folders(place.data_dir / "ood_imagenet" / "test", present)
    spec = next(spec for spec in builtin_specs() if spec.name == "ood-imagenet")
    assert spec.available(place)
    with pytest.raises(KdbenchError, match="'ood-imagenet' is not complete: found 14 test images, expected 3,500"):
        load_dataset(spec, place)
    test = load_dataset(small(spec), place).test
    assert test.class_names == CIFAR10_CLASSES
    assert test.class_counts == (0, 2, 2, 2, 0, 2, 2, 0, 2, 2)
    for name, images in written.items():
        for pixels in images:
            assert CIFAR10_CLASSES[test.labels[image_of(test.images, pixels)]] == name


def test_source_index_counts_by_class_and_file_name(place: DataPlace, write_folders) -> None:
    written = write_folders(place.data_dir / "pets" / "test", PETS, per_class=4)
    test = from_class_folders(place, "pets", PETS, splits=("test",)).test
    in_order = torch.from_numpy(np.concatenate([written["cat"], written["dog"]])).permute(0, 3, 1, 2)
    assert torch.equal(test.images, in_order[test.source_index])


def test_a_third_party_set_in_ten_lines(place: DataPlace, write_folders) -> None:
    for split in ("train", "test"):
        write_folders(place.data_dir / "pets" / split, PETS, size=8)
    spec = DatasetSpec(
        "pets", class_names=PETS, image_size=8, load=lambda place: from_class_folders(place, "pets", PETS, image_size=8)
    )
    data = load_dataset(spec, place)
    assert isinstance(data, Dataset)
    assert data.test.images.shape == (4, 3, 8, 8)


@pytest.mark.parametrize("size", [8, 40, 64])
def test_the_images_have_the_size_that_the_spec_says(size: int, place: DataPlace, write_folders) -> None:
    for split in ("train", "test"):
        write_folders(place.data_dir / "pets" / split, PETS, size=size)
    spec = DatasetSpec("pets", PETS, size, lambda place: from_class_folders(place, "pets", PETS))
    assert load_dataset(spec, place).test.images.shape == (4, 3, size, size)
    other = DatasetSpec("pets", PETS, size + 1, lambda place: from_class_folders(place, "pets", PETS))
    with pytest.raises(KdbenchError, match=f"wrong size.*{size}x{size}, expected {size + 1}x{size + 1}"):
        load_dataset(other, place)


def test_unknown_class_names_the_nearest(place: DataPlace, write_folders) -> None:
    write_folders(place.data_dir / "pets" / "test", ("cat", "dogs"))
    with pytest.raises(KdbenchError, match=r"no class named 'dogs'.*did you mean 'dog'"):
        from_class_folders(place, "pets", PETS, splits=("test",))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_training_set_needs_every_class(split: str, place: DataPlace, write_folders) -> None:
    for each in ("train", "test"):
        write_folders(place.data_dir / "pets" / each, ("cat",) if each == split else PETS)
    with pytest.raises(KdbenchError, match=f"{split}' lacks 1 of 2 classes: dog"):
        from_class_folders(place, "pets", PETS)


def test_a_missing_split(place: DataPlace, write_folders) -> None:
    write_folders(place.data_dir / "pets" / "train", PETS)
    with pytest.raises(KdbenchError, match=r"no such folder.*test"):
        from_class_folders(place, "pets", PETS)


def test_missing_and_empty_folders(place: DataPlace) -> None:
    with pytest.raises(KdbenchError, match="'pets' were not found: looked in"):
        from_class_folders(place, "pets", PETS)
    (place.data_dir / "pets" / "test").mkdir(parents=True)
    with pytest.raises(KdbenchError, match="holds no class folder"):
        from_class_folders(place, "pets", PETS, splits=("test",))
    (place.data_dir / "pets" / "test" / "cat").mkdir()
    with pytest.raises(KdbenchError, match=r"no image in .*cat"):
        from_class_folders(place, "pets", PETS, splits=("test",))


def test_wrong_size_names_file_and_size(place: DataPlace, write_folders) -> None:
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS)
    Image.new("RGB", (31, 33)).save(folder / "dog" / "00001.png")
    with pytest.raises(KdbenchError, match=r"1 of 4 .*dog/00001.png': size 31x33, expected 32x32"):
        from_class_folders(place, "pets", PETS, splits=("test",))


def test_unreadable_images_are_named_and_counted(place: DataPlace, write_folders) -> None:
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS, per_class=4)
    whole = (folder / "cat" / "00001.png").read_bytes()
    (folder / "cat" / "00001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "00003.png").write_bytes(b"not an image")
    (folder / "dog" / "00000.png").write_bytes(b"")
    with pytest.raises(KdbenchError, match=r"3 of 8 images .*cat/00001.png': unreadable"):
        from_class_folders(place, "pets", PETS, splits=("test",))


def test_sixteen_bit_images_are_refused(place: DataPlace, write_folders) -> None:
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS)
    Image.fromarray(np.full((32, 32), 40000, dtype=np.uint16)).save(folder / "cat" / "00000.png")
    with pytest.raises(KdbenchError, match=r"1 of 4 .*mode I;16, not 8 bits"):
        from_class_folders(place, "pets", PETS, splits=("test",))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("RGB", "JPG"), ("RGB", "bmp"), ("RGB", "WebP"),
     ("RGB", "tif"), ("L", "pgm"), ("P", "gif")],
)  # fmt: skip
def test_other_modes_and_formats_become_rgb(mode: str, suffix: str, place: DataPlace) -> None:
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (32, 32, 4), dtype=np.uint8), "RGBA").convert("RGB").convert(mode)
    path = place.data_dir / "pets" / "test" / "cat" / f"a.{suffix}"
    path.parent.mkdir(parents=True)
    image.save(path)
    test = from_class_folders(place, "pets", PETS, splits=("test",)).test
    with Image.open(path) as reread:
        expected = np.asarray(reread.convert("RGB"))
    assert np.array_equal(test.images[0].permute(1, 2, 0).numpy(), expected)
    if mode == "L":
        assert torch.equal(test.images[0, 0], test.images[0, 1])


def test_a_folder_that_mixes_formats_loses_none(place: DataPlace, write_folders) -> None:
    """Two .png a class and as many .bmp, of other pixels."""
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS, seed=1)
    for name in PETS:
        for number in range(2):
            Image.new("RGB", (32, 32), (number, 0, PETS.index(name))).save(folder / name / f"{number}.bmp")
    test = from_class_folders(place, "pets", PETS, splits=("test",)).test
    assert test.class_counts == (4, 4)
    assert count_class_folders(place, "pets", PETS, splits=("test",)) == (None, 8)


def test_what_is_no_image_of_a_class_is_left_out_and_named(place: DataPlace, write_folders) -> None:
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS)
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "._00000.png").write_bytes(b"x")
    (folder / ".cache").mkdir()
    assert len(from_class_folders(place, "pets", PETS, splits=("test",)).test) == 4  # without a word
    (folder / "cat" / "notes.txt").write_bytes(b"x")
    (folder / "dog" / "more").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "dog" / "more" / "1.png")
    Image.new("RGB", (32, 32)).save(folder / "stray.png")
    with pytest.warns(KdbenchWarning, match=r"holds 3 entries that .* left out: stray\.png, cat/notes\.txt, dog/more"):
        assert len(from_class_folders(place, "pets", PETS, splits=("test",)).test) == 4


def test_empty_files_are_not_counted_as_images(place: DataPlace, write_folders) -> None:
    folder = place.data_dir / "pets" / "test"
    write_folders(folder, PETS)
    (folder / "dog" / "00001.png").write_bytes(b"")
    with pytest.raises(KdbenchError, match=r"1 of 4 files of 'pets/test' are empty, the first is '.*dog/00001.png'"):
        count_class_folders(place, "pets", PETS, splits=("test",))


def test_many_files_and_a_progress_bar(place: DataPlace, write_folders, capsys: pytest.CaptureFixture[str]) -> None:
    """More files than one chunk of the thread pool keep their order."""
    written = write_folders(place.data_dir / "pets" / "test", PETS, per_class=300, size=2)
    shown = DataPlace(place.data_dir, place.cache_dir, progress=True)
    test = from_class_folders(shown, "pets", PETS, splits=("test",), image_size=2).test
    in_order = torch.from_numpy(np.concatenate([written["cat"], written["dog"]])).permute(0, 3, 1, 2)
    assert torch.equal(test.images, in_order[test.source_index])
    assert capsys.readouterr().out == ""  # a progress bar stays off what programs read


def real_data() -> DataPlace:
    if not os.environ.get("KDBENCH_DATA_DIR"):
        pytest.skip("KDBENCH_DATA_DIR is not set: no real images")
    return DataPlace.default()


def test_real_cifar10_has_the_pinned_hash_and_the_published_statistics(tmp_path: Path) -> None:
    spec = next(spec for spec in builtin_specs() if spec.name == "cifar10")
    place = DataPlace(real_data().data_dir, tmp_path)
    if not spec.available(place):
        pytest.skip("no cifar10 in KDBENCH_DATA_DIR")
    data = load_dataset(spec, place)
    assert data.sha256 == spec.sha256
    assert data.train.class_counts == (5000,) * 10
    assert data.test.class_counts == (1000,) * 10
    pixels = data.train.images.permute(1, 0, 2, 3).reshape(3, -1).numpy() / np.float32(255)
    # The mean and spread that the field normalises CIFAR-10 with.
    assert np.allclose(pixels.mean(1, dtype=np.float64), [0.4914, 0.4822, 0.4465], atol=5e-5)
    assert np.allclose(pixels.std(1, dtype=np.float64), [0.2470, 0.2435, 0.2616], atol=5e-5)
