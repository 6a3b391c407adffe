"""Bit for bit what Pillow's codec makes of an image."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kdbench.corruptions import _jpeg

from .conftest import channels_first, channels_last

QUALITIES = (1, 10, 40, 49, 50, 51, 80, 95, 100)


def pillow(images: Tensor, quality: int) -> Tensor:
    def save_and_load(pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return channels_first(np.stack([save_and_load(image) for image in channels_last(images)]))


def assert_equals_pillow(images: Tensor, quality: int) -> None:
    found = _jpeg.round_trip(images.float(), quality)
    assert torch.equal(found, pillow(images, quality).float())


@pytest.mark.parametrize("quality", QUALITIES)
def test_photographs(photographs: Tensor, quality: int) -> None:
    assert_equals_pillow(photographs[:100], quality)


@pytest.mark.parametrize("quality", QUALITIES)
def test_saturated_colours_and_flat_images(images: Tensor, quality: int) -> None:
    assert_equals_pillow(images, quality)


def noise(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("quality", QUALITIES)
def test_noise(quality: int) -> None:
    """Every coefficient is large: the clipping, and sums that need all their bits."""
    assert_equals_pillow(noise(200, 32, 32), quality)
    assert_equals_pillow(noise(100, 32, 32) // 128 * 255, quality)


@pytest.mark.parametrize("size", [(5, 5), (8, 8), (16, 16), (17, 17), (28, 28), (40, 40), (63, 64), (64, 64), (31, 50)])
def test_other_sizes(size: tuple[int, int]) -> None:
    """Where blocks, or pairs of rows or columns that share a chroma, reach beyond the image."""
    for quality in (30, 90):
        assert_equals_pillow(noise(30, *size), quality)


def test_the_transform_is_the_cosine_transform() -> None:
    frequency, place = np.mgrid[0:8, 0:8]
    cosines = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.where(frequency == 0, 1, np.sqrt(2))
    assert np.abs(_jpeg._DCT - 8192 * cosines).max() < 1.4


def test_leaves_its_input_alone() -> None:
    images = noise(3, 32, 32).float()
    kept = images.clone()
    _jpeg.round_trip(images, 50)
    assert torch.equal(images, kept)
