from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from kdbench.corruptions._images_last import bordered, box_sum, images_first, images_last, neighbour

IMAGES = torch.arange(7 * 5 * 6).reshape(7, 5, 6) * 37 % 101
"""7 of 5 rows and 6 columns."""


def test_there_and_back() -> None:
    there = images_last(IMAGES)
    assert there.shape == (5, 6, 7)
    assert torch.equal(there[:, :, 3], IMAGES[3])
    assert there.is_contiguous() and images_first(there).is_contiguous()
    assert torch.equal(images_first(there), IMAGES)


def test_borders_are_numpys() -> None:
    for boundary, mode in (("nearest", "edge"), ("mirror", "reflect")):
        expected = np.pad(IMAGES.numpy(), ((0, 0), (1, 1), (1, 1)), mode=mode)
        assert np.array_equal(images_first(bordered(images_last(IMAGES), boundary)), expected)


def test_a_neighbour_is_below_and_to_the_right() -> None:
    wide = bordered(images_last(IMAGES), "nearest")
    assert torch.equal(images_first(neighbour(wide, 0, 0)), IMAGES)
    assert torch.equal(images_first(neighbour(wide, 1, 0))[:, :-1], IMAGES[:, 1:])
    assert torch.equal(images_first(neighbour(wide, -1, 1))[:, 1:, :-1], IMAGES[:, :-1, 1:])


def test_box_sums_are_scipys() -> None:
    expected = ndimage.correlate(IMAGES.numpy(), np.ones((1, 3, 3), dtype=int), mode="mirror")
    assert np.array_equal(images_first(box_sum(images_last(IMAGES))), expected)
