from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdbench.data import DataPlace, ImageSet, KdbenchWarning, cache, folders, from_class_folders
from kdbench.errors import KdbenchError

PETS = ("cat", "dog")


@pytest.fixture
def pets(place: DataPlace, write_folders) -> DataPlace:
    write_folders(place.data_dir / "pets" / "test", PETS, per_class=5)
    return place


def load(place: DataPlace) -> ImageSet:
    return from_class_folders(place, "pets", PETS, splits=("test",)).test


def same(one: ImageSet, two: ImageSet) -> bool:
    tensors = ("images", "labels", "source_index")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in tensors) and (
        (one.name, one.sha256, one.source, one.class_names) == (two.name, two.sha256, two.source, two.class_names)
    )


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"{name} should not have been called")

    monkeypatch.setattr(folders, name, refuse)


def cache_file(place: DataPlace) -> Path:
    (path,) = (place.cache_dir / "images").iterdir()
    return path


@pytest.mark.usefixtures("trusted_clock")
def test_second_load_neither_reads_nor_decodes(pets: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(pets)
    forbid(monkeypatch, "decode")
    forbid(monkeypatch, "_read_bytes")
    assert same(load(pets), first)


@pytest.mark.usefixtures("trusted_clock")
def test_the_key_is_of_contents_and_not_of_paths(
    pets: DataPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(pets)
    shutil.copytree(pets.data_dir, tmp_path / "elsewhere")
    for number in range(5):  # other names in the same order
        folder = tmp_path / "elsewhere" / "pets" / "test" / "cat"
        (folder / f"{number:05d}.png").rename(folder / f"photo-{number}.png")
    forbid(monkeypatch, "decode")
    assert same(load(replace(pets, data_dir=tmp_path / "elsewhere")), first)
    assert len(list((pets.cache_dir / "images").iterdir())) == 1


@pytest.mark.usefixtures("trusted_clock")
def test_a_changed_file_is_seen_even_with_its_old_size_and_time(pets: DataPlace) -> None:
    path = pets.data_dir / "pets" / "test" / "cat" / "00002.png"
    # Uncompressed, so that other pixels take as many bytes.
    Image.new("RGB", (32, 32), (1, 2, 3)).save(path, compress_level=0)
    before = path.stat()
    first = load(pets)
    Image.new("RGB", (32, 32), (4, 5, 6)).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = load(pets)
    assert second.sha256 != first.sha256
    assert (second.images == torch.tensor([4, 5, 6]).view(3, 1, 1)).flatten(1).all(1).sum() == 1


@pytest.mark.usefixtures("trusted_clock")
@pytest.mark.parametrize("change", ["add", "remove", "move"])
def test_added_removed_and_moved_files_are_seen(change: str, pets: DataPlace) -> None:
    first = load(pets)
    cat, dog = (pets.data_dir / "pets" / "test" / name for name in PETS)
    if change == "add":
        Image.new("RGB", (32, 32)).save(cat / "new.png")
    elif change == "remove":
        (cat / "00000.png").unlink()
    else:
        (cat / "00000.png").rename(dog / "moved.png")
    second = load(pets)
    assert second.sha256 != first.sha256
    assert len(second) == len(first) + {"add": 1, "remove": -1, "move": 0}[change]


def test_files_of_this_moment_are_read_again(pets: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one tick of the file system's clock a file can change and keep its times."""
    load(pets)
    assert not list((pets.cache_dir / "index").glob("*"))
    reads = []
    original = folders._read_bytes
    monkeypatch.setattr(folders, "_read_bytes", lambda path: reads.append(path) or original(path))
    forbid(monkeypatch, "decode")
    load(pets)
    assert len(reads) == 10


def flip_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def shuffle_source_index(path: Path) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file({**tensors, "source_index": tensors["source_index"].flip(0)}, path, metadata)


@pytest.mark.usefixtures("trusted_clock")
@pytest.mark.parametrize(
    "damage", [flip_a_pixel, truncate, overwrite, empty, drop_metadata, shuffle_source_index], ids=lambda f: f.__name__
)
def test_a_damaged_cache_file_is_rebuilt(damage, pets: DataPlace) -> None:
    first = load(pets)
    damage(cache_file(pets))
    with pytest.warns(KdbenchWarning, match=r"cache file .* is damaged .*rebuilding") as caught:
        second = load(pets)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert same(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(first, load(pets))


@pytest.mark.usefixtures("trusted_clock")
def test_a_damaged_index_is_harmless(pets: DataPlace) -> None:
    first = load(pets)
    (memo,) = (pets.cache_dir / "index").iterdir()
    for content in (b"", b"\xff\xfe", b"0" * 64):
        memo.write_bytes(content)
        assert same(load(pets), first)


def test_a_cache_folder_that_cannot_be_written(pets: DataPlace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = replace(pets, cache_dir=tmp_path / "file" / "cache")
    with pytest.warns(KdbenchWarning, match="can't write to the cache folder .*going on without"):
        assert same(load(blocked), load(pets))


def test_a_write_that_breaks_off_leaves_nothing(pets: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "save_file", full_disk)
    with pytest.warns(KdbenchWarning, match="No space left"):
        load(pets)
    assert list((pets.cache_dir / "images").iterdir()) == []


def test_nothing_is_cached_of_bad_images(pets: DataPlace) -> None:
    (pets.data_dir / "pets" / "test" / "cat" / "00000.png").write_bytes(b"bad")
    with pytest.raises(KdbenchError):
        load(pets)
    assert not (pets.cache_dir / "images").exists()


def test_class_order_and_size_are_part_of_the_key() -> None:
    keys = {
        cache.content_key("32 a b", ["a"], ["0"]),
        cache.content_key("32 b a", ["a"], ["0"]),
        cache.content_key("8 a b", ["a"], ["0"]),
        cache.content_key("32 a b", ["b"], ["0"]),
        cache.content_key("32 a b", ["a"], ["1"]),
    }
    assert len(keys) == 5


@pytest.mark.usefixtures("trusted_clock")
def test_one_cache_serves_two_orders_of_classes(pets: DataPlace) -> None:
    one = from_class_folders(pets, "pets", ("cat", "dog"), splits=("test",)).test
    two = from_class_folders(pets, "pets", ("dog", "cat"), splits=("test",)).test
    assert torch.equal(one.images[one.labels == 0], two.images[two.labels == 1])
    assert np.array_equal(one.class_counts, two.class_counts)
