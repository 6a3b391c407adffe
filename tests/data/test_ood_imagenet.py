"""Making "ood-imagenet" from a small Tiny ImageNet in the layouts that people have it in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kdbench.cli import data as commands  # noqa: F401  # its commands
from kdbench.cli.app import app
from kdbench.data import CIFAR10_CLASSES, DataPlace, load_dataset, ood_imagenet
from kdbench.errors import KdbenchError
from tests.data.small import small
from tools.ood_imagenet_digests import digests_of

TREE = "tiny-imagenet-200"
BELONGING = ("n01641577_0", "n01641577_2", "n02085620_1", "val_1")
"""The photographs of the small archive that belong to the set: two frogs, a dog and a ship for validation."""


def jpeg(seed: int, size: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def tiny_imagenet() -> dict[str, bytes]:
    """Path to bytes: three training images of four synsets, one of which is in no class, and three for validation."""
    files = {}
    for number, synset in enumerate(("n01641577", "n02085620", "n03796401", "n07747607")):
        for image in range(3):
            files[f"{TREE}/train/{synset}/images/{synset}_{image}.JPEG"] = jpeg(10 * number + image)
        files[f"{TREE}/train/{synset}/{synset}_boxes.txt"] = b"no image"
    lines = [
        "val_0.JPEG\tn07747607\t0\t0\t63\t63",
        "val_1.JPEG\tn03662601\t0\t0\t63\t63",
        "val_2.JPEG\tn03662601\t0\t0\t1\t1",
    ]
    files[f"{TREE}/val/val_annotations.txt"] = "\n".join(lines).encode()
    for image in range(3):
        files[f"{TREE}/val/images/val_{image}.JPEG"] = jpeg(100 + image)
    files[f"{TREE}/test/images/test_0.JPEG"] = jpeg(200)
    files[f"__MACOSX/{TREE}/train/n01641577/images/._n01641577_0.JPEG"] = b"not an image"
    files[f"{TREE}/train/n01641577/images/.DS_Store"] = b"not an image"
    return files


def averages(blob: bytes) -> np.ndarray:
    """uint8 (32, 32, 3): the mean of each 2x2 square, rounded half up in each direction."""
    with Image.open(io.BytesIO(blob)) as image:
        pixels = np.asarray(image, dtype=np.int64)
    across = (pixels[:, 0::2] + pixels[:, 1::2] + 1) // 2
    return ((across[0::2] + across[1::2] + 1) // 2).astype(np.uint8)


def belonging(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    return {Path(path).stem: averages(blob) for path, blob in files.items() if Path(path).stem in BELONGING}


def wanted(files: dict[str, bytes]) -> np.ndarray:
    digests = [ood_imagenet.digest(pixels.transpose(2, 0, 1)) for pixels in belonging(files).values()]
    return np.sort(np.array(digests, dtype=np.uint64))


def packed(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "tiny.zip", "w") as archive:
        for path, blob in files.items():
            archive.writestr(path, blob)
    return folder / "tiny.zip"


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    for path, blob in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(blob)
    return folder / TREE


def with_sorted_validation(folder: Path, files: dict[str, bytes]) -> Path:
    """As scripts leave it that make the validation images an ImageFolder, and with the archive's list thrown away."""
    moved = {path: blob for path, blob in files.items() if "/val/" not in path}
    for image, synset in enumerate(("n07747607", "n03662601", "n03662601")):
        moved[f"{TREE}/val/{synset}/val_{image}.JPEG"] = files[f"{TREE}/val/images/val_{image}.JPEG"]
    return unpacked(folder, moved)


@pytest.mark.parametrize("layout", [packed, unpacked, with_sorted_validation])
def test_the_images_that_belong_to_the_set_are_found(
    layout: Callable[[Path, dict[str, bytes]], Path], place: DataPlace, tmp_path: Path
) -> None:
    files = tiny_imagenet()
    folder = ood_imagenet.build(place, layout(tmp_path, files), wanted=wanted(files))
    assert folder == place.data_dir / "ood_imagenet"
    test = load_dataset(small(ood_imagenet.spec()), place).test
    assert {CIFAR10_CLASSES[label]: count for label, count in enumerate(test.class_counts) if count} == {
        "dog": 1, "frog": 2, "ship": 1,
    }  # fmt: skip
    for name, pixels in belonging(files).items():
        [position] = (test.images == test.images.new_tensor(pixels).permute(2, 0, 1)).flatten(1).all(1).nonzero()
        label = {"n01641577": "frog", "n02085620": "dog", "val": "ship"}[name.split("_")[0]]
        assert CIFAR10_CLASSES[test.labels[position]] == label


def test_a_box_that_is_rounded_once_is_found_too(place: DataPlace, tmp_path: Path) -> None:
    files = tiny_imagenet()
    [path] = [path for path in files if path.endswith("/n01641577_1.JPEG")]
    with Image.open(io.BytesIO(files[path])) as image:
        pixels = np.asarray(image, dtype=np.int64).reshape(32, 2, 32, 2, 3).sum((1, 3))
    once = ((pixels + 2) // 4).astype(np.uint8)
    assert not np.array_equal(once, averages(files[path]))
    digest = np.array([ood_imagenet.digest(once.transpose(2, 0, 1))], dtype=np.uint64)
    ood_imagenet.build(place, packed(tmp_path, files), wanted=digest)
    assert np.array_equal(load_dataset(small(ood_imagenet.spec()), place).test.images[0].permute(1, 2, 0).numpy(), once)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda files: files.pop(f"{TREE}/train/n02085620/images/n02085620_1.JPEG"),
            r"has 3 of the 4 images.*among 10",
        ),
        (lambda files: files.update({f"{TREE}/train/n01641577/images/n01641577_2.JPEG": jpeg(5)}), "has 3 of the 4"),
        (
            lambda files: files.update({f"{TREE}/train/n01641577/images/n01641577_1.JPEG": jpeg(5, 224)}),
            "224x224 pixels",
        ),
        (lambda files: files.update({f"{TREE}/train/n01641577/images/n01641577_1.JPEG": b"x"}), "can't be read"),
        (
            lambda files: [files.pop(path) for path in list(files) if "/train/" in path or "/val/" in path],
            "holds none of",
        ),
    ],
)
def test_other_photographs_are_refused_and_leave_nothing(
    change: Callable[[dict[str, bytes]], object], message: str, place: DataPlace, tmp_path: Path
) -> None:
    files = tiny_imagenet()
    digests = wanted(files)
    change(files)
    with pytest.raises(KdbenchError, match=message) as caught:
        ood_imagenet.build(place, packed(tmp_path, files), wanted=digests)
    assert "cs231n.stanford.edu" in caught.value.hint
    assert not list(place.data_dir.iterdir())


def test_a_damaged_archive_names_the_file(place: DataPlace, tmp_path: Path) -> None:
    archive = packed(tmp_path, tiny_imagenet())
    blob = bytearray(archive.read_bytes())
    blob[blob.index(b"n01641577_1.JPEG") + 200] ^= 255
    archive.write_bytes(blob)
    with pytest.raises(KdbenchError, match=r"n01641577_1.JPEG' in '.*tiny.zip' can't be read: Bad CRC-32"):
        ood_imagenet.build(place, archive)


def test_what_is_no_archive_and_a_set_that_is_there(place: DataPlace, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="is not there"):
        ood_imagenet.build(place, tmp_path / "absent.zip")
    (tmp_path / "page.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(KdbenchError, match="is no whole zip archive"):
        ood_imagenet.build(place, tmp_path / "page.zip")
    (place.data_dir / "ood_imagenet").mkdir()
    with pytest.raises(KdbenchError, match="exists already"):
        ood_imagenet.build(place, tmp_path / "page.zip")


def test_the_command_checks_the_hash(place: DataPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four images of the small archive are not the set, and the command says so."""
    files = tiny_imagenet()
    np.save(tmp_path / "digests.npy", wanted(files))
    monkeypatch.setattr(ood_imagenet, "DIGESTS", tmp_path / "digests.npy")
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(place.cache_dir))
    arguments = [
        "data",
        "build",
        "ood-imagenet",
        "--from",
        str(packed(tmp_path, files)),
        "--data-dir",
        str(place.data_dir),
    ]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, KdbenchError) and "is not complete: found 4 test images, expected 3,500" in error.message


def test_the_command_names_what_can_be_built() -> None:
    error = CliRunner().invoke(app, ["data", "build", "cifar10", "--from", "x.zip"]).exception
    assert isinstance(error, KdbenchError) and error.hint == "those that are: ood-imagenet"


def test_the_digests_are_those_of_a_set_of_this_size() -> None:
    digests = np.load(ood_imagenet.DIGESTS)
    assert (digests.dtype, digests.shape) == (np.uint64, (3500,))
    assert (digests[1:] > digests[:-1]).all()
    assert set(ood_imagenet.SYNSETS.values()) == set(CIFAR10_CLASSES) - {"airplane", "deer", "horse"}


def test_the_digests_are_those_of_the_real_set(tmp_path: Path) -> None:
    place = DataPlace.default(cache_dir=tmp_path)
    if place.data_dir is None or not (place.data_dir / "ood_imagenet").is_dir():
        pytest.skip("needs the real image set ood_imagenet under KDBENCH_DATA_DIR")
    assert np.array_equal(digests_of(place), np.load(ood_imagenet.DIGESTS))
