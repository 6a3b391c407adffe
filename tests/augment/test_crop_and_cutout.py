from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.augment import crop_flip, cutout
from kdbench.errors import KdbenchError


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def every_crop(image: Tensor, padding: int, numpy_mode: str) -> dict[bytes, tuple[int, int, bool]]:
    height, width = image.shape[1:]
    padded = np.pad(image.numpy(), ((0, 0), (padding, padding), (padding, padding)), mode=numpy_mode)  # type: ignore[call-overload] # a str
    crops = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            window = padded[:, top : top + height, left : left + width]
            crops[window.tobytes()] = (top, left, False)
            crops[window[:, :, ::-1].tobytes()] = (top, left, True)
    return crops


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_every_crop_is_one_of_the_possible_ones_and_all_occur(mode: str, numpy_mode: str) -> None:
    image = torch.rand(3, 10, 14, generator=torch.Generator().manual_seed(0))
    crops = every_crop(image, 4, numpy_mode)
    assert len(crops) == 162
    batch = image.expand(8100, -1, -1, -1)
    found = crop_flip(batch, torch.Generator().manual_seed(1), padding=4, mode=mode)  # type: ignore[arg-type] # a Literal
    draws = np.array([crops[one.numpy().tobytes()] for one in found])
    # 900 for each offset, 28 standard deviation; 50 for each crop, 7 standard deviation.
    for axis in (0, 1):
        assert np.abs(np.bincount(draws[:, axis], minlength=9) - 900).max() < 5 * 28
    assert abs(draws[:, 2].mean() - 0.5) < 5 * 0.5 / 90
    _, counts = np.unique(draws, axis=0, return_counts=True)
    assert len(counts) == 162 and np.abs(counts - 50).max() < 5 * 7.1


def test_each_image_gets_its_own_pixels() -> None:
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = crop_flip(images, torch.Generator().manual_seed(1), padding=2)
    for image, one in zip(images, found, strict=True):
        assert one.numpy().tobytes() in every_crop(image, 2, "reflect")


def test_without_padding_and_flip_nothing_changes() -> None:
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = crop_flip(images, torch.Generator().manual_seed(1), padding=0, flip=False)
    assert torch.equal(found, images) and found.data_ptr() != images.data_ptr()


def test_no_flip_means_no_flip() -> None:
    # Large enough that no window is the mirror image of another.
    image = torch.rand(3, 10, 14, generator=torch.Generator().manual_seed(0))
    crops = every_crop(image, 4, "reflect")
    found = crop_flip(image.expand(200, -1, -1, -1), torch.Generator().manual_seed(1), flip=False)
    assert not any(crops[one.numpy().tobytes()][2] for one in found)


@pytest.mark.parametrize(("length", "painted"), [(16, 16), (5, 4), (1, 0), (0, 0)])
def test_cutout_paints_one_square_cut_at_the_borders(length: int, painted: int) -> None:
    images = torch.full((6000, 3, 32, 32), 0.9)
    fill = (0.1, 0.2, 0.3)
    found = cutout(images, torch.Generator().manual_seed(0), length=length, fill=fill)
    changed = (found == torch.tensor(fill).view(3, 1, 1)).all(1)
    assert torch.equal(found.ne(images).any(1), changed)
    half = length // 2
    possible: dict[bytes, int] = {}
    for y in range(32):
        for x in range(32):
            mask = np.zeros((32, 32), dtype=bool)
            mask[max(y - half, 0) : max(y + half, 0), max(x - half, 0) : max(x + half, 0)] = True
            key = mask.tobytes()
            possible[key] = possible.get(key, 0) + 1
    observed: dict[bytes, int] = {}
    for mask in changed.numpy():
        observed[mask.tobytes()] = observed.get(mask.tobytes(), 0) + 1
    assert set(observed) <= set(possible)
    whole = (changed.flatten(1).sum(1) == painted**2).float().mean().item()
    expected = ((32 - painted + (painted > 0)) / 32) ** 2 if painted else 1.0
    assert whole == pytest.approx(expected, abs=0.035)


def test_cutout_fill_may_be_a_number_a_sequence_or_a_tensor() -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    results = [
        cutout(images, torch.Generator().manual_seed(1), fill=fill)
        for fill in (0.25, [0.25] * 3, torch.full((3,), 0.25))
    ]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert (cutout(images, torch.Generator().manual_seed(1)) == 0).any()


def test_mistakes() -> None:
    images, generator = torch.rand(2, 3, 8, 8), torch.Generator()
    calls: list[Callable[[], Tensor]] = [
        lambda: crop_flip(images, generator, padding=8),
        lambda: crop_flip(images, generator, padding=-1),
        lambda: crop_flip(images, generator, mode="edge"),  # type: ignore[arg-type] # the mistake under test
        lambda: crop_flip(images[0], generator),
        lambda: cutout(images, generator, length=-1),
        lambda: cutout((images * 255).byte(), generator),
    ]
    for call in calls:
        with pytest.raises(KdbenchError) as caught:
            call()
        assert caught.value.hint
