from __future__ import annotations

import importlib.util
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Food101
from torchvision.transforms import CenterCrop, Compose, Resize

from kdbench.data import DataPlace, KdbenchWarning, builtin_specs, food101, load_dataset, mapped, photographs, webvision
from kdbench.data.mapped import take
from kdbench.data.photographs import Cut, Photograph, load_photographs
from kdbench.errors import KdbenchError
from tests.data.photographs import write_food101, write_imagenet, write_jpeg, write_webvision
from tests.data.small import small

WHOLE = {spec.name: spec for spec in builtin_specs()}
SPECS = {name: small(spec) for name, spec in WHOLE.items()}
CLASSES = ("cat", "dog")


def in_pillow(path: Path, shorter: int, size: int) -> torch.Tensor:
    """What torchvision makes of a file, uint8 (3, size, size)."""
    cut = Compose([Resize(shorter), CenterCrop(size)])(Image.open(path).convert("RGB"))
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1)


def write_pair(root: Path) -> list[Photograph]:
    write_jpeg(root / "a.jpg", 1, (33, 47))
    write_jpeg(root / "b.jpg", 2, (47, 33), "L")
    write_jpeg(root / "c.jpg", 3, (20, 20), "CMYK")
    return [Photograph("c.jpg", 1), Photograph("a.jpg", 1), Photograph("b.jpg", 0)]


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (90, 31), (24, 24), (10, 300)])
@pytest.mark.parametrize("cut", [Cut(28, 24), Cut(24, 24), Cut(27, 24)])
def test_a_cut_is_torchvisions_resize_and_centre_crop(tmp_path: Path, size: tuple[int, int], cut: Cut) -> None:
    write_jpeg(tmp_path / "x.jpg", 5, size)
    found = torch.from_numpy(cut(Image.open(tmp_path / "x.jpg")))
    assert torch.equal(found, in_pillow(tmp_path / "x.jpg", cut.shorter, cut.size))


def test_photographs_come_in_canonical_order_with_their_place_in_the_list(place: DataPlace) -> None:
    root = place.data_dir
    assert root is not None
    listed = write_pair(root)
    found = load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    assert found.images.shape == (3, 3, 20, 20)
    assert found.labels.tolist() == [0, 1, 1]
    for image, row in zip(found.images, found.source_index.tolist(), strict=True):
        assert torch.equal(image, in_pillow(root / listed[row].path, 26, 20))
    again = load_photographs("pets", root, listed[::-1], CLASSES, Cut(26, 20), place)
    assert again.sha256 == found.sha256
    assert again.source_index.tolist() == [2 - row for row in found.source_index.tolist()]


def test_photographs_are_decoded_once(place: DataPlace, trusted_clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place.data_dir
    assert root is not None
    listed = write_pair(root)
    first = load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    monkeypatch.setattr(photographs, "_decode", None)
    second = load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    assert torch.equal(first.images, second.images) and first.sha256 == second.sha256
    assert torch.equal(first.source_index, second.source_index)
    with pytest.raises(TypeError):  # another cut is other pixels
        load_photographs("pets", root, listed, CLASSES, Cut(20, 20), place)


def test_a_damaged_cache_is_told_and_rebuilt(place: DataPlace, trusted_clock: None) -> None:
    root = place.data_dir
    assert root is not None
    listed = write_pair(root)
    first = load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    expected = first.images.clone()
    [pixels] = (place.cache_dir / "photographs").glob("*/" + mapped.PIXELS)
    blob = bytearray(pixels.read_bytes())
    blob[7] ^= 255
    pixels.write_bytes(blob)
    with pytest.warns(KdbenchWarning, match="SHA-256 of the images differs"):
        second = load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    assert torch.equal(second.images, expected)
    assert not [entry for entry in (place.cache_dir / "photographs").iterdir() if entry.name.startswith(".")]


def test_what_cannot_be_read_is_counted_and_named(place: DataPlace) -> None:
    root = place.data_dir
    assert root is not None
    listed = write_pair(root)
    (root / "a.jpg").write_bytes((root / "a.jpg").read_bytes()[:200])
    with pytest.raises(
        KdbenchError, match=r"1 of 3 images of 'pets' can't be read, the first is '.*a\.jpg': (?i:.*trunc)"
    ):
        load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    (root / "a.jpg").unlink()
    with pytest.raises(KdbenchError, match=r"1 of 3 images of 'pets' are missing, the first is '.*a\.jpg'"):
        load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    assert not list((place.cache_dir / "photographs").iterdir())


def test_a_disk_without_room_is_told_before_it_is_filled(place: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place.data_dir
    assert root is not None
    listed = write_pair(root)
    monkeypatch.setattr(mapped.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(KdbenchError, match=r"can't write the photographs of 'pets' .*GB are needed") as caught:
        load_photographs("pets", root, listed, CLASSES, Cut(26, 20), place)
    assert "KDBENCH_CACHE_DIR" in caught.value.hint


def test_take_is_indexing_whether_mapped_or_not(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (700, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    index = torch.randperm(700, generator=torch.Generator().manual_seed(1))[:600]
    for limit in (0, 10**9):
        assert torch.equal(take(images, index, tmp_path / "new", limit=limit), images[index])
    assert not list((tmp_path / "new").iterdir())  # nothing is left behind


def test_a_set_is_not_held_in_memory(place: DataPlace) -> None:
    """Decoding and shuffling 98 MB of pixels allocates a small part of them."""
    root = place.data_dir
    assert root is not None
    write_jpeg(root / "a.jpg", 1, (64, 64))
    listed = [Photograph("a.jpg", number % 2) for number in range(500)]
    tracemalloc.start()
    found = load_photographs("pets", root, listed, CLASSES, Cut(256, 256), place)
    shuffled = take(found.images, torch.randperm(500), place.cache_dir, limit=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shuffled.shape == (500, 3, 256, 256)
    assert peak < 20e6


def test_webvision_in_its_official_layout(place: DataPlace) -> None:
    spec, root = SPECS["webvision-mini"], place.data_dir
    assert root is not None and not spec.available(place)
    with pytest.raises(KdbenchError, match="the data of 'webvision-mini' were not found") as caught:
        load_dataset(spec, place)
    assert "webvision/{info,google,val_images_256}" in caught.value.hint and "fetch" not in caught.value.hint
    write_webvision(root / "webvision")
    assert spec.available(place)
    found = load_dataset(spec, place)
    assert found.train is not None
    assert found.train.labels.tolist() == [0, 0, 3, 49, 49]
    assert found.test.labels.tolist() == [0, 3, 49]
    assert torch.equal(found.test.images[1], in_pillow(root / "webvision/val_images_256/val3.jpg", 256, 224))
    assert torch.equal(found.train.images[2], in_pillow(root / "webvision/google/q0007/e.jpg", 224, 224))
    large = load_dataset(SPECS["webvision-mini-299"], place)
    assert torch.equal(large.test.images[1], in_pillow(root / "webvision/val_images_256/val3.jpg", 320, 299))


def test_webvisions_classes_are_imagenets_first_fifty() -> None:
    found = importlib.util.find_spec("timm")  # not imported: it warns of its own deprecations
    assert found is not None and found.origin is not None
    text = (Path(found.origin).parent / "data/_info/imagenet_synsets.txt").read_text()
    assert tuple(text.split()[:50]) == webvision.CLASS_NAMES


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("info/synsets.txt", "n01440764 tench\nn00000001 other\n", "is not WebVision 1.0's: line 2 is 'n00000001'"),
        ("info/synsets.txt", "n01440764 tench\n", "it has 1 lines, expected 50"),
        (
            "info/train_filelist_google.txt",
            "google/a.jpg\n",
            "has the line 'google/a.jpg', expected a path and a label",
        ),
        ("info/val_filelist.txt", "val1.jpg 999\n", "lists no image of the first 50 classes"),
        ("info/val_filelist.txt", "val9.jpg 4\n", r"1 of 1 images of 'webvision-mini/test' are missing.*val9\.jpg"),
    ],
)
def test_webvision_with_other_lists(place: DataPlace, file: str, text: str, message: str) -> None:
    root = place.data_dir
    assert root is not None
    write_webvision(root)
    (root / file).write_text(text)
    with pytest.raises(KdbenchError, match=message):
        load_dataset(SPECS["webvision-mini"], place)


def test_imagenets_validation_images_of_the_same_classes(place: DataPlace) -> None:
    spec, root = SPECS["imagenet-val-webvision50"], place.data_dir
    assert root is not None
    with pytest.raises(KdbenchError, match="were not found") as caught:
        load_dataset(spec, place)
    assert "imagenet/val/<synset>" in caught.value.hint
    write_imagenet(root)
    found = load_dataset(spec, place)
    assert found.train is None and spec.ood
    assert found.test.labels.tolist() == list(range(50))
    path = root / "imagenet/val" / webvision.CLASS_NAMES[20] / "ILSVRC2012_val_00000020.JPEG"
    assert torch.equal(found.test.images[20], in_pillow(path, 256, 224))
    shutil.rmtree(path.parent)
    with pytest.raises(KdbenchError, match=f"no image in '.*{webvision.CLASS_NAMES[20]}'"):
        load_dataset(spec, place)


def test_food101_as_a_folder_and_as_the_archive(place: DataPlace) -> None:
    spec, root = SPECS["food101"], place.data_dir
    assert root is not None and not spec.available(place)
    with pytest.raises(KdbenchError, match="the data of 'food101' were not found"):
        load_dataset(spec, place)
    folder = write_food101(root)
    found = load_dataset(spec, place)
    assert found.train is not None and found.class_names == tuple(sorted(found.class_names))
    assert found.train.labels.tolist() == list(range(101)) == found.test.labels.tolist()
    path = folder / f"images/{found.class_names[57]}/500.jpg"
    assert torch.equal(found.test.images[57], in_pillow(path, 256, 224))
    with tarfile.open(root / "food-101.tar.gz", "w:gz") as tar:
        tar.add(folder, "food-101")
    shutil.rmtree(folder)
    assert spec.available(place)
    md5 = food101.download.file_digest(root / "food-101.tar.gz", "md5")
    unpacked = food101.load(place, checksum=f"md5:{md5}")
    assert unpacked.sha256 == found.sha256 and folder.is_dir()


def test_food101s_classes_and_address_are_torchvisions(place: DataPlace) -> None:
    assert food101.CHECKSUM.startswith("sha256:")
    assert (Food101._URL.replace("http://", "https://"),) == food101.URLS
    root = place.data_dir
    assert root is not None
    folder = write_food101(root)
    (folder / "meta/classes.txt").write_text("apple_pie\nhaggis\n")
    with pytest.raises(KdbenchError, match="is not Food-101's: line 2 is 'haggis', expected 'baby_back_ribs'"):
        load_dataset(SPECS["food101"], place)


def test_a_part_of_the_photographs_is_not_the_data_set(place: DataPlace) -> None:
    """Counted without decoding one: nothing is written into the cache."""
    root = place.data_dir
    assert root is not None
    write_food101(root)
    write_webvision(root)
    write_imagenet(root)
    found = {"food101": (101, 101), "webvision-mini": (5, 3), "imagenet-val-webvision50-299": (None, 50)}
    for name, counts in found.items():
        spec = WHOLE[name]
        assert spec.count is not None and spec.count(place) == counts
        with pytest.raises(KdbenchError, match=f"'{name}' is not complete: found {counts[0] or 50} "):
            load_dataset(spec, place)
    assert not place.cache_dir.exists()
    (root / "food-101/images/tacos/0.jpg").write_bytes(b"")
    with pytest.raises(KdbenchError, match=r"1 of 101 files of 'food101/train' are empty, .*tacos/0\.jpg'"):
        load_dataset(WHOLE["food101"], place)


def test_a_packed_archive_counts_when_its_checksum_is_right(place: DataPlace) -> None:
    root = place.data_dir
    assert root is not None
    (root / "food-101.tar.gz").write_bytes(b"half of it")
    with pytest.raises(
        KdbenchError, match=r"food-101\.tar\.gz' is damaged or not whole: sha256 is .*, expected d97d15e4"
    ):
        food101.count(place)
    md5 = food101.download.file_digest(root / "food-101.tar.gz", "md5")
    assert food101.count(place, checksum=f"md5:{md5}") == (75_750, 25_250)
