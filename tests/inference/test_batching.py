from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.errors import KdbenchError
from kdbench.inference import batching
from kdbench.inference.batching import check_statistics, held, rows
from kdbench.methods.context import TrainSet


def test_images_that_would_fill_the_device_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(10, 3, 4, 4, dtype=torch.uint8)
    monkeypatch.setattr(batching, "_free_bytes", lambda device: 4 * images.nbytes - 1)
    assert held(images, torch.device("cuda")) is images
    assert held(images, torch.device("cpu")) is images


def test_rows_are_those_of_the_index() -> None:
    images = torch.arange(5 * 3 * 2 * 2).reshape(5, 3, 2, 2)
    assert torch.equal(rows(images, torch.tensor([3, 0])), images[[3, 0]])


def test_batch_norms_need_more_than_one_image() -> None:
    normed = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    with pytest.raises(KdbenchError, match="batch_size found 1, expected at least 2"):
        check_statistics(normed, 1)
    check_statistics(normed, 2)
    check_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)), 1)


def test_a_mean_colour_is_exact_whatever_its_parts() -> None:
    images = torch.randint(0, 256, (700, 3, 5, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = images.double().mean((0, 2, 3)) / 255
    assert TrainSet(images, torch.zeros(700, dtype=torch.int64), 2).mean() == pytest.approx(
        expected.tolist(), rel=1e-12
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("HIP error: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_devices_say_in_their_own_words_that_memory_is_out(error: Exception, expected: bool) -> None:
    assert batching.is_out_of_memory(error) == expected
