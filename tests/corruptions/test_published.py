"""Reading the published arrays, from files of their shape that are mostly holes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kdbench.corruptions import NAMES, PublishedArrays, corrupt, find_published, published_status
from kdbench.errors import KdbenchError
from tests.corruptions.arrays import SHAPE, write_array, write_published


@pytest.fixture
def fog(tmp_path: Path) -> PublishedArrays:
    """Image i at severity s is marked: its first row holds i // 100, i % 100 and s."""
    array = write_array(tmp_path / "fog.npy")
    for severity in (1, 5):
        for i in (0, 1, 4321, 9999):
            array[10_000 * (severity - 1) + i, 0] = (i // 100, i % 100, severity)
    array.flush()
    return PublishedArrays(tmp_path, {"fog": 5})


@pytest.mark.parametrize("severity", [1, 5])
def test_rows_are_image_numbers_within_a_severity(fog: PublishedArrays, severity: int) -> None:
    found = fog.load("fog", severity, torch.tensor([4321, 0, 9999]))
    assert found.shape == (3, 3, 32, 32)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert found[:, :, 0, 5].tolist() == [[43, 21, severity], [0, 0, severity], [99, 99, severity]]
    assert found[:, :, 1:].sum() == 0


def test_without_rows_a_whole_severity(fog: PublishedArrays) -> None:
    found = fog.load("fog", 5, None)
    assert found.shape == (10_000, 3, 32, 32)
    assert found[1, :, 0, 0].tolist() == [0, 1, 5]
    assert fog.load("fog", 5, torch.tensor([], dtype=torch.int64)).shape == (0, 3, 32, 32)


def test_result_can_be_written_to(fog: PublishedArrays) -> None:
    found = fog.load("fog", 1, torch.tensor([0]))
    found += 1
    assert fog.load("fog", 1, torch.tensor([0]))[0, 0, 1, 1] == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.tensor([10_000]), "10000"),
        (torch.tensor([-1]), "-1"),
        (torch.tensor([0.5]), "whole numbers"),
        (torch.tensor([True]), "whole numbers"),
        (torch.tensor([[0]]), "shape"),
    ],
)
def test_refuses_other_rows(fog: PublishedArrays, rows: torch.Tensor, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        fog.load("fog", 1, rows)


def test_refuses_what_is_not_there(fog: PublishedArrays) -> None:
    with pytest.raises(KdbenchError, match=r"snow\.npy not found"):
        fog.load("snow", 1, None)
    with pytest.raises(KdbenchError, match="did you mean 'fog'"):
        fog.load("fogg", 1, None)
    with pytest.raises(KdbenchError, match="severity is 0"):
        fog.load("fog", 0, None)
    with pytest.raises(KdbenchError, match="severity is True"):
        fog.load("fog", True, None)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((12_000, 32, 32, 3), "uint8"),
        ((60_000, 32, 32, 3), "uint8"),
        ((50_000, 3, 32, 32), "uint8"),
        (SHAPE, "float32"),
    ],
)
def test_refuses_another_shape_or_dtype(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    write_array(tmp_path / "fog.npy", shape, dtype)
    with pytest.raises(KdbenchError, match="expected uint8"):
        PublishedArrays(tmp_path, {"fog": 5}).load("fog", 1, None)


@pytest.mark.parametrize(
    "content",
    [b"<html>not found</html>", b"\x93NUMPY\x01\x00\x06\x00{\n\x05\x00\x00\n"],
    ids=["page", "damaged header"],
)
def test_refuses_a_file_that_is_no_array(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fog.npy").write_bytes(content)
    with pytest.raises(KdbenchError, match=r"no readable \.npy"):
        PublishedArrays(tmp_path, {"fog": 5}).load("fog", 1, None)


@pytest.mark.parametrize(("dataset", "name"), [("cifar10", "CIFAR-10-C"), ("cifar100", "CIFAR-100-C")])
def test_find_published(tmp_path: Path, dataset: str, name: str) -> None:
    assert find_published(tmp_path, dataset) is None
    write_published(tmp_path / name)
    (tmp_path / name / "labels.npy").unlink()  # nothing is read of it but to check the others
    found = find_published(tmp_path, dataset)
    assert found == PublishedArrays(tmp_path / name, dict.fromkeys(NAMES, 5))
    assert (found.lacking, found.origin) == ((), "published")


EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")


def test_fifteen_of_nineteen(tmp_path: Path) -> None:
    """The corruptions of RobustBench's leaderboards."""
    write_published(tmp_path / "CIFAR-10-C")
    for name in EXTRA:
        (tmp_path / "CIFAR-10-C" / f"{name}.npy").unlink()
    found = find_published(tmp_path, "cifar10")
    assert found is not None
    assert found.origin == "published but for speckle_noise, gaussian_blur, spatter, saturate"
    assert found.has("fog", 5) and not found.has("spatter", 1)
    status = published_status(tmp_path)["CIFAR-10-C"]
    assert status.state == "available"
    assert status.found == "15 of 19 arrays; generated: speckle_noise, gaussian_blur, spatter, saturate"


@pytest.mark.parametrize(
    ("rows", "origin"),
    [
        (dict.fromkeys(NAMES, 4), "published but for severity 5 of all"),
        ({"fog": 1, "snow": 1}, "published but for severities 2-5 of snow, fog"),
        ({"fog": 3, "snow": 0}, "published but for snow; severities 4-5 of fog"),
    ],
)
def test_files_that_end_after_a_severity(tmp_path: Path, rows: dict[str, int], origin: str) -> None:
    folder = tmp_path / "CIFAR-10-C"
    write_published(folder)
    for name, number in rows.items():
        (folder / f"{name}.npy").unlink()
        if number:
            write_array(folder / f"{name}.npy", (10_000 * number, 32, 32, 3))
    found = find_published(tmp_path, "cifar10")
    assert found is not None and found.origin == origin
    with pytest.raises(KdbenchError, match=r"\.npy (ends before severity 5|not found)"):
        found.load(next(iter(rows)), 5)


def test_a_folder_in_a_folder_of_its_name(tmp_path: Path) -> None:
    write_published(tmp_path / "CIFAR-10-C" / "CIFAR-10-C")
    found = find_published(tmp_path, "cifar10")
    assert found is not None and found.folder == tmp_path / "CIFAR-10-C" / "CIFAR-10-C"


def smooth_pictures(count: int) -> torch.Tensor:
    """uint8 (count, 3, 32, 32) with edges and slopes, as photographs have them."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    fine = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear", align_corners=False)
    return (255 * fine).byte()


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "jpeg_compression", "brightness"])
@pytest.mark.parametrize("kept", [(1,), (1, 2, 3), (5,), (3, 4, 5), (2,)])
def test_severities_of_a_file_that_is_cut_short_are_looked_at(tmp_path: Path, name: str, kept: tuple[int, ...]) -> None:
    """Rows of other severities than the first would be measured under their name."""
    clean, rows = smooth_pictures(48), torch.arange(100, 148)
    array = write_array(tmp_path / f"{name}.npy", (10_000 * len(kept), 32, 32, 3))
    for place, severity in enumerate(kept):
        made = corrupt(clean, name, severity, generator=torch.Generator().manual_seed(10 + severity))
        array[10_000 * place + 100 : 10_000 * place + 148] = made.permute(0, 2, 3, 1).numpy()
    array.flush()
    found, labels = PublishedArrays(tmp_path, {name: len(kept)}), torch.zeros(48, dtype=torch.int64)
    if kept[0] == 1:
        found.check(clean, labels, rows)
    else:
        with pytest.raises(KdbenchError, match=f"{name}.npy has .* look like severity {kept[0]}, not 1"):
            found.check(clean, labels, rows)


def test_labels_say_whether_the_arrays_are_in_the_order_of_the_archive(tmp_path: Path) -> None:
    write_published(tmp_path, [3, 8, 8, 0])
    found, images = PublishedArrays(tmp_path, dict.fromkeys(NAMES, 5)), smooth_pictures(3)
    found.check(images, torch.tensor([0, 3, 8]), torch.tensor([3, 0, 2]))
    with pytest.raises(KdbenchError, match=r"labels.npy has another label than the test images for 2 of 3"):
        found.check(images, torch.tensor([3, 0, 8]), torch.tensor([3, 0, 2]))


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_array_is_found_without_reading_its_pixels(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "CIFAR-10-C"
    write_published(folder)
    if damage == "cut":
        os.truncate(folder / "fog.npy", 1000)
    else:
        write_array(folder / "fog.npy", (10_001, 32, 32, 3))
    with pytest.raises(KdbenchError, match=r"fog\.npy is (no readable|uint8 \(10001, 32, 32, 3\), expected)"):
        find_published(tmp_path, "cifar10")
    status = published_status(tmp_path)
    assert (status["CIFAR-10-C"].state, status["CIFAR-100-C"].state) == ("incomplete", "missing")
    assert "fog.npy" in status["CIFAR-10-C"].found and "unpack" in status["CIFAR-10-C"].fix


def test_no_published_folder_for_other_data(tmp_path: Path) -> None:
    (tmp_path / "CIFAR-10-C").mkdir()
    assert find_published(tmp_path, "digits") is None
