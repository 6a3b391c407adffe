"""Reading the published arrays, from files of their shape that are mostly holes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kdbench.corruptions import load_published, published_folder, published_status
from kdbench.errors import KdbenchError
from tests.corruptions.arrays import SHAPE, write_array, write_published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Image i at severity s is marked: its first row holds i // 100, i % 100 and s."""
    array = write_array(tmp_path / "fog.npy")
    for severity in (1, 5):
        for i in (0, 1, 4321, 9999):
            array[10_000 * (severity - 1) + i, 0] = (i // 100, i % 100, severity)
    array.flush()
    return tmp_path


@pytest.mark.parametrize("severity", [1, 5])
def test_rows_are_image_numbers_within_a_severity(folder: Path, severity: int) -> None:
    found = load_published(folder, "fog", severity, torch.tensor([4321, 0, 9999]))
    assert found.shape == (3, 3, 32, 32)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert found[:, :, 0, 5].tolist() == [[43, 21, severity], [0, 0, severity], [99, 99, severity]]
    assert found[:, :, 1:].sum() == 0


def test_without_rows_a_whole_severity(folder: Path) -> None:
    found = load_published(folder, "fog", 5, None)
    assert found.shape == (10_000, 3, 32, 32)
    assert found[1, :, 0, 0].tolist() == [0, 1, 5]
    assert load_published(folder, "fog", 5, torch.tensor([], dtype=torch.int64)).shape == (0, 3, 32, 32)


def test_result_can_be_written_to(folder: Path) -> None:
    found = load_published(folder, "fog", 1, torch.tensor([0]))
    found += 1
    assert load_published(folder, "fog", 1, torch.tensor([0]))[0, 0, 1, 1] == 0


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
def test_refuses_other_rows(folder: Path, rows: torch.Tensor, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        load_published(folder, "fog", 1, rows)


def test_refuses_what_is_not_there(folder: Path) -> None:
    with pytest.raises(KdbenchError, match=r"snow\.npy not found"):
        load_published(folder, "snow", 1, None)
    with pytest.raises(KdbenchError, match="did you mean 'fog'"):
        load_published(folder, "fogg", 1, None)
    with pytest.raises(KdbenchError, match="severity is 0"):
        load_published(folder, "fog", 0, None)
    with pytest.raises(KdbenchError, match="severity is True"):
        load_published(folder, "fog", True, None)


@pytest.mark.parametrize(("shape", "dtype"), [((10_000, 32, 32, 3), "uint8"), (SHAPE, "float32")])
def test_refuses_another_shape_or_dtype(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    write_array(tmp_path / "fog.npy", shape, dtype)
    with pytest.raises(KdbenchError, match="expected uint8"):
        load_published(tmp_path, "fog", 1, None)


def test_refuses_a_file_that_is_no_array(tmp_path: Path) -> None:
    (tmp_path / "fog.npy").write_bytes(b"<html>not found</html>")
    with pytest.raises(KdbenchError, match=r"no readable \.npy"):
        load_published(tmp_path, "fog", 1, None)


@pytest.mark.parametrize(("dataset", "name"), [("cifar10", "CIFAR-10-C"), ("cifar100", "CIFAR-100-C")])
def test_published_folder(tmp_path: Path, dataset: str, name: str) -> None:
    assert published_folder(tmp_path, dataset) is None
    write_published(tmp_path / name)
    assert published_folder(tmp_path, dataset) == tmp_path / name
    (tmp_path / name / "labels.npy").unlink()
    with pytest.raises(KdbenchError, match=r"lacks 1 of its 20 files: labels\.npy"):
        published_folder(tmp_path, dataset)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_array_is_found_without_reading_its_pixels(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "CIFAR-10-C"
    write_published(folder)
    if damage == "cut":
        os.truncate(folder / "fog.npy", 1000)
    else:
        write_array(folder / "fog.npy", (10_000, 32, 32, 3))
    with pytest.raises(KdbenchError, match=r"fog\.npy is (no readable|uint8 \(10000, 32, 32, 3\), expected)"):
        published_folder(tmp_path, "cifar10")
    status = published_status(tmp_path)
    assert (status["CIFAR-10-C"].state, status["CIFAR-100-C"].state) == ("incomplete", "missing")
    assert "fog.npy" in status["CIFAR-10-C"].found and "unpack" in status["CIFAR-10-C"].fix


def test_no_published_folder_for_other_data(tmp_path: Path) -> None:
    (tmp_path / "CIFAR-10-C").mkdir()
    assert published_folder(tmp_path, "digits") is None
