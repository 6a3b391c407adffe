from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import struct
import tarfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, DataPlace, cifar, load_dataset
from kdbench.data.unpickle import restricted_loads
from kdbench.errors import KdbenchError
from tests.data.small import small

LABELS = np.random.default_rng(3).permutation(np.arange(10).repeat(3))
IMAGES = np.random.default_rng(4).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)


def write_as_folders(root: Path, test_from: int) -> None:
    for row, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        folder = root / "cifar10" / ("train" if row < test_from else "test") / CIFAR10_CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{row * 7 % 30:05d}.png")


@pytest.fixture(autouse=True)
def every_class_in_both_halves() -> None:
    """Of the first 20 and the last 10 labels each class has some, as a check of this file's own data."""
    LABELS[:10], LABELS[10:20], LABELS[20:] = np.arange(10), np.arange(10), np.random.default_rng(3).permutation(10)


def test_both_layouts_give_the_same_tensors_and_hash(place: DataPlace, tmp_path: Path, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, test_from=20)
    write_as_folders(tmp_path / "other", test_from=20)
    official = cifar.load(place, archive)
    folders = cifar.load(replace(place, data_dir=tmp_path / "other"), archive)
    assert official.sha256 == folders.sha256
    for one, two in ((official.train, folders.train), (official.test, folders.test)):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert (one.source, two.source) == ("official archive", "class folders")


def test_source_index_is_the_row_of_the_official_files(place: DataPlace, write_official) -> None:
    data = cifar.load(place, write_official(place.data_dir, IMAGES, LABELS, test_from=20, files=3))
    assert torch.equal(data.train.images, torch.from_numpy(IMAGES[:20])[data.train.source_index])
    assert torch.equal(data.test.images, torch.from_numpy(IMAGES[20:])[data.test.source_index])
    assert torch.equal(data.test.labels, torch.from_numpy(LABELS[20:])[data.test.source_index])


def test_official_files_come_before_class_folders(place: DataPlace, write_official) -> None:
    write_as_folders(place.data_dir, test_from=20)
    assert cifar.load(place, cifar.CIFAR10).test.source == "class folders"
    archive = write_official(place.data_dir, IMAGES, LABELS, test_from=20)
    assert cifar.load(place, archive).test.source == "official archive"


def test_class_folders_in_data_dir_come_before_downloads(place: DataPlace, write_official) -> None:
    archive = write_official(place.downloads, IMAGES, LABELS, test_from=20)
    assert cifar.load(place, archive).test.source == "official archive"
    assert cifar.load(replace(place, data_dir=None), archive).test.source == "official archive"
    write_as_folders(place.data_dir, test_from=20)
    assert cifar.load(place, archive).test.source == "class folders"


def test_a_changed_file_is_refused_before_it_is_read(place: DataPlace, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, test_from=20)
    path = place.data_dir / archive.folder / "test_batch"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(KdbenchError, match=r"test_batch' is not the official file: its MD5 is [0-9a-f]{32}, expected"):
        cifar.load(place, archive)


def test_a_missing_file_is_named(place: DataPlace, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, test_from=20)
    (place.data_dir / archive.folder / "data_batch_2").unlink()
    with pytest.raises(KdbenchError, match=r"can't read .*data_batch_2.*No such file"):
        cifar.load(place, archive)


def rewrite(place: DataPlace, archive: cifar.CifarArchive, file: str, content: object) -> cifar.CifarArchive:
    """Replace one file, and its MD5 too: what a forged archive with a forged table would be."""
    blob = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
    (place.data_dir / archive.folder / file).write_bytes(blob)
    return replace(archive, md5={**archive.md5, file: hashlib.md5(blob, usedforsecurity=False).hexdigest()})


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_and_not_run(place: DataPlace, tmp_path: Path, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, test_from=20)
    forged = rewrite(place, archive, "test_batch", {"data": Touch(tmp_path / "pwned"), "labels": []})
    with pytest.raises(KdbenchError, match=r"test_batch' was refused.*mkdir"):
        cifar.load(place, forged)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "blob",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
        b"c_codecs\ndecode\n(Vabc\nVlatin1\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
        b"not a pickle",
        b"",
    ],
)
def test_anything_but_arrays_and_strings_is_refused(blob: bytes) -> None:
    with pytest.raises(KdbenchError, match="was refused"):
        restricted_loads(blob, Path("forged"))


@pytest.mark.parametrize(
    "content",
    [
        {"data": IMAGES[:2].reshape(2, -1).astype(np.int32), "labels": [0, 1]},
        {"data": IMAGES[:2], "labels": [0, 1]},
        {"data": IMAGES[:2].reshape(2, -1)[:, :10], "labels": [0, 1]},
        {"data": IMAGES[:2].reshape(2, -1), "labels": [0]},
        {"data": IMAGES[:2].reshape(2, -1), "labels": ["0", "1"]},
        {"data": IMAGES[:2].reshape(2, -1)},
        {},
    ],
)
def test_a_batch_of_the_wrong_form_is_refused(place: DataPlace, write_official, content: dict) -> None:
    archive = rewrite(place, write_official(place.data_dir, IMAGES, LABELS, 20), "test_batch", content)
    with pytest.raises(KdbenchError, match="test_batch' doesn't hold"):
        cifar.load(place, archive)


def test_other_class_names_and_other_objects_are_refused(place: DataPlace, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, 20)
    with pytest.raises(KdbenchError, match="other classes"):
        cifar.load(place, rewrite(place, archive, "batches.meta", {"label_names": ["a"]}))
    with pytest.raises(KdbenchError, match="holds a list"):
        cifar.load(place, rewrite(place, archive, "batches.meta", [1]))


def python2_array(array: np.ndarray) -> bytes:
    """The opcodes with which Python 2 and NumPy 1 wrote a uint8 matrix: byte strings, no codecs."""
    raw = array.tobytes()
    shape = b"M" + struct.pack("<H", array.shape[0]) + b"M" + struct.pack("<H", array.shape[1]) + b"\x86"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state


def test_files_written_by_python_2_are_read(place: DataPlace, write_official) -> None:
    """The official files are such."""
    rows = IMAGES[20:].reshape(10, -1)
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in LABELS[20:]) + b"e"
    blob = b"\x80\x02}(U\x04data" + python2_array(rows) + b"U\x06labels" + labels + b"u."
    assert np.array_equal(pickle.loads(blob, encoding="latin1")["data"], rows)  # the opcodes above are right
    archive = write_official(place.data_dir, IMAGES, LABELS, 20)
    plain = cifar.load(place, archive)
    assert cifar.load(place, rewrite(place, archive, "test_batch", blob)).sha256 == plain.sha256


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("with_data_dir", [True, False])
def test_download_unpacks_once_and_is_found_again(
    with_data_dir: bool, place: DataPlace, tmp_path: Path, write_official, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web = tmp_path / "web"
    archive = write_official(web, IMAGES, LABELS, 20)
    with tarfile.open(web / "small.tar.gz", "w:gz") as tar:
        tar.add(web / archive.folder, archive.folder)
    md5 = hashlib.md5((web / "small.tar.gz").read_bytes(), usedforsecurity=False).hexdigest()
    place = place if with_data_dir else replace(place, data_dir=None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(web))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        archive = replace(archive, urls=(f"http://127.0.0.1:{server.server_port}/small.tar.gz",), checksum=f"md5:{md5}")
        with pytest.raises(KdbenchError, match="were not found"):
            cifar.load(place, archive)
        first = cifar.load(replace(place, download=True), archive)
        server.shutdown()
        thread.join()
    assert len(first.test) == 10
    assert cifar.available(place, archive)
    assert cifar.load(place, archive).sha256 == first.sha256
    assert cifar.fetch(place, archive) == (place.data_dir or place.downloads) / archive.folder


def test_specs_load_through_the_framework(place: DataPlace) -> None:
    write_as_folders(place.data_dir, test_from=20)
    spec = next(spec for spec in cifar.specs() if spec.name == "cifar10")
    assert spec.available(place)
    assert spec.count(place) == (20, 10)
    data = load_dataset(small(spec), place)
    assert (len(data.train), len(data.test)) == (20, 10)


def test_a_part_of_the_images_is_not_the_data_set(place: DataPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before one of them is decoded."""
    write_as_folders(place.data_dir, test_from=20)
    monkeypatch.setattr("kdbench.data.folders.decode", None)
    for name, text in (("cifar10", "found 20 training images, expected 50,000"), ("cifar100", "were not found")):
        spec = next(spec for spec in cifar.specs() if spec.name == name)
        with pytest.raises(KdbenchError, match=text) as caught:
            load_dataset(spec, place)
    spec = next(spec for spec in cifar.specs() if spec.name == "cifar10")
    with pytest.raises(KdbenchError, match="found 10 test images, expected 10,000") as caught:
        load_dataset(replace(spec, train_images=20), place)
    assert "a data set of another name" in caught.value.hint


def test_as_many_other_images_are_not_the_data_set(place: DataPlace) -> None:
    write_as_folders(place.data_dir, test_from=20)
    spec = next(spec for spec in cifar.specs() if spec.name == "cifar10")
    spec = replace(spec, train_images=20, test_images=10)
    with pytest.raises(KdbenchError, match=r"has other images or labels .*expected 10a2c48d"):
        load_dataset(spec, place)
    found = load_dataset(small(spec), place).sha256
    assert load_dataset(replace(spec, sha256=found), place).sha256 == found


def test_a_damaged_archive_is_not_counted(place: DataPlace, write_official) -> None:
    archive = write_official(place.data_dir, IMAGES, LABELS, 20)
    assert cifar.count(place, archive) == (20, 10)
    (place.data_dir / archive.folder / "data_batch_2").unlink()
    with pytest.raises(KdbenchError, match="can't read '.*data_batch_2'"):
        cifar.count(place, archive)


def test_pinned_files_are_those_that_torchvision_pins() -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for ours, theirs in ((cifar.CIFAR10, datasets.CIFAR10), (cifar.CIFAR100, datasets.CIFAR100)):
        listed = [*theirs.train_list, *theirs.test_list, [theirs.meta["filename"], theirs.meta["md5"]]]
        assert dict(ours.md5) == dict(listed)
        assert [*ours.train_files, *ours.test_files, ours.meta_file] == [name for name, _ in listed]
        assert (ours.folder, ours.names_key) == (theirs.base_folder, theirs.meta["key"])
        assert ours.urls[0] == theirs.url
        assert all(url.startswith("https://") for url in ours.urls) and ours.checksum.startswith("sha256:")


def test_class_names() -> None:
    assert list(CIFAR10_CLASSES) == sorted(CIFAR10_CLASSES)
    assert list(CIFAR100_CLASSES) == sorted(set(CIFAR100_CLASSES))
    assert len(CIFAR100_CLASSES) == 100
    assert list(CIFAR100_SUPERCLASSES) == sorted(CIFAR100_SUPERCLASSES)
    assert len(CIFAR100_SUPERCLASSES) == 20
    assert all(list(group) == sorted(set(group)) for group in CIFAR100_SUPERCLASSES.values())
