from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from kdbench.corruptions._equalise import equalise
from kdbench.corruptions._images_last import images_first, images_last


def equalised(images: np.ndarray, levels: int) -> np.ndarray:
    found = equalise(images_last(torch.from_numpy(images).to(torch.int16)), levels)
    assert found.dtype == torch.int16
    return images_first(found).numpy()


@pytest.mark.parametrize("levels", [1, 2, 21, 256])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 9)])
def test_equals_opencv(levels: int, height: int, width: int) -> None:
    rng = np.random.default_rng(levels)
    # of every degree of unevenness: powers of uniform draws
    draws = rng.random((200, height, width)) ** np.linspace(0.2, 5, 200)[:, None, None]
    images = (draws * levels).astype(np.uint8)
    assert np.array_equal(equalised(images, levels), np.stack([cv2.equalizeHist(image) for image in images]))


def test_one_level_stays_in_one_image_of_several() -> None:
    images = np.zeros((3, 4, 4), dtype=np.uint8)
    images[0] = 7
    images[2, 0, :2] = 3, 5
    found = equalised(images, 21)
    assert (found[0] == 7).all() and (found[1] == 0).all()
    # of the two pixels that are brighter than the darkest level, one is at most as bright as 3
    assert found[2, 0].tolist() == [128, 255, 0, 0]
