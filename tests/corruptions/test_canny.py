from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from kdbench.corruptions._canny import canny
from kdbench.corruptions._images_last import images_first, images_last


def edges(images: np.ndarray, low: int = 50, high: int = 150) -> np.ndarray:
    return images_first(canny(images_last(torch.from_numpy(images)), low, high)).numpy()


def opencvs(images: np.ndarray, low: int = 50, high: int = 150) -> np.ndarray:
    return np.stack([cv2.Canny(image, low, high) for image in images]) > 0


def blobs(count: int, height: int, width: int, sigma: float) -> np.ndarray:
    """uint8: smooth noise, of which what is dark is 0, as spatter's liquid."""
    noise = np.random.default_rng(count + width).normal(size=(count, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, sigma, sigma))
    levels = (127 + 127 * smooth / np.abs(smooth).max()).astype(np.uint8)
    return np.where(levels < 130, 0, levels).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (3, 3), (5, 40), (40, 17)])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_equals_opencv(height: int, width: int, sigma: float) -> None:
    images = blobs(300, height, width, sigma)
    found = edges(images)
    assert np.array_equal(found, opencvs(images))
    if width > 5:
        assert found.any()


def test_equals_opencv_on_photographs(photographs: Tensor) -> None:
    images = photographs.flatten(0, 1).numpy()
    assert np.array_equal(edges(images), opencvs(images))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (50, 50), (100, 900), (1000, 2000), (2040, 2041)])
def test_equals_opencv_with_other_thresholds_on_noise(low: int, high: int) -> None:
    images = np.random.default_rng(low).integers(0, 256, size=(300, 32, 32), dtype=np.uint8)
    assert np.array_equal(edges(images, low, high), opencvs(images, low, high))


def test_equals_opencv_on_every_slope() -> None:
    """Ramps in 360 directions, of few levels: ties between neighbours, and directions near 22.5 and 67.5 degrees."""
    rows, columns = np.mgrid[0:32, 0:32] - 15.5
    angles = np.deg2rad(np.arange(360) + 0.5)[:, None, None]
    distance = np.cos(angles) * columns + np.sin(angles) * rows
    ramps = np.clip(128 + 40 * np.round(distance), 0, 255).astype(np.uint8)
    assert np.array_equal(edges(ramps), opencvs(ramps))


def test_a_flat_image_has_no_edges() -> None:
    assert not edges(np.full((2, 32, 32), 200, dtype=np.uint8)).any()


def test_a_long_weak_chain_is_followed_from_its_strong_end() -> None:
    """A spiral line of 20 levels, its inner end of 200: without that end nothing of it is an edge."""
    image = np.zeros((64, 64), dtype=np.uint8)
    top, left, bottom, right = 4, 4, 59, 59
    while bottom - top > 12:
        image[top, left : right + 1] = image[top : bottom + 1, right] = 20
        image[bottom, left + 6 : right + 1] = image[top + 6 : bottom + 1, left + 6] = 20
        image[top + 6, left : left + 7] = 0
        top, left, bottom, right = top + 6, left + 6, bottom - 6, right - 6
    weak = image.copy()
    image[image.nonzero()[0][-1], image.nonzero()[1][-1]] = 200
    both = np.stack([weak, image])
    expected = opencvs(both)
    assert not expected[0].any() and expected[1].sum() > 200
    assert np.array_equal(edges(both), expected)
