"""The drops' shading, pixel by pixel against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.corruptions import _linear, spatter
from kdbench.corruptions._images_last import images_first, images_last

RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)


def opencvs_relief(amount: np.ndarray) -> np.ndarray:
    distance = cv2.distanceTransform(255 - cv2.Canny(amount, 50, 150), cv2.DIST_L2, 5)
    blurred = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    return cv2.blur(cv2.filter2D(cv2.equalizeHist(blurred), cv2.CV_8U, RELIEF), (3, 3))


def relief(amount: Tensor) -> np.ndarray:
    return images_first(spatter._relief(images_last(amount))).numpy()


def liquid(mean: float, std: float, sigma: float, threshold: float, size: int) -> Tensor:
    """uint8 (500, size, size), as the corruption makes it."""
    generator = torch.Generator().manual_seed(size)
    layer = torch.empty(500, 1, size, size).normal_(mean, std, generator=generator)
    layer = _linear.gaussian_blur(layer, sigma)[:, 0]
    return (layer.where(layer >= threshold, 0) * 255).to(torch.int32).bitwise_and_(255).to(torch.uint8)


# without Intel's library OpenCV's distances are a little different, and a few pixels with them
@pytest.mark.skipif(not cv2.ipp.useIPP(), reason="this OpenCV computes without Intel's library")
@pytest.mark.parametrize("size", [32, 28, 64])
@pytest.mark.parametrize(
    "constants", [(0.62, 0.1, 0.7, 0.7), (0.65, 0.1, 0.8, 0.7), (0.65, 0.3, 1, 0.69), (0.95, 0.3, 1, 0.69)]
)
def test_relief_equals_opencv(constants: tuple[float, float, float, float], size: int) -> None:
    """The three severities with drops, and one so wet that amounts wrap around."""
    amount = liquid(*constants, size)
    assert np.array_equal(relief(amount), np.stack([opencvs_relief(image) for image in amount.numpy()]))


def test_no_liquid_has_no_relief() -> None:
    dry = torch.zeros(2, 32, 32, dtype=torch.uint8)
    assert np.array_equal(relief(dry), np.stack([opencvs_relief(image) for image in dry.numpy()]))


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    amount = liquid(0.65, 0.1, 0.8, 0.7, 32)[:40]
    alone = np.concatenate([relief(amount[one : one + 1]) for one in range(40)])
    assert np.array_equal(relief(amount), alone)
