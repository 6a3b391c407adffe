"""Images of 64x64 pixels with the constants of Tiny ImageNet-C: the oracle's pixels, on the same draws."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from kdbench.corruptions import DETERMINISTIC, NAMES, SEVERITIES, SIZES, _constants, _draws, blur

from . import oracle, replay
from .test_deterministic import assert_equals_oracle
from .test_random import POINTWISE, assert_same_distribution

RANDOM = [name for name in NAMES if name not in DETERMINISTIC]


@pytest.fixture(scope="module")
def large() -> Tensor:
    """uint8 (24, 3, 64, 64): smooth noise with saturated regions, and last black, white and a ramp."""
    rng = np.random.default_rng(3)
    total = np.zeros((21, 64, 64, 3))
    for sigma, strength in ((16, 1.0), (5, 0.7), (1, 0.4)):
        layer = ndimage.gaussian_filter(rng.normal(size=total.shape), (0, sigma, sigma, 0), mode="wrap")
        total += strength * layer / layer.std()
    noise = np.uint8(np.clip(127 + 60 * (total.mean(axis=-1, keepdims=True) + 0.5 * total), 0, 255))
    black, white = (np.full((1, 64, 64, 3), level, dtype=np.uint8) for level in (0, 255))
    ramp = np.repeat(np.arange(4096).reshape(1, 64, 64, 1) // 16, 3, axis=3).astype(np.uint8)
    return torch.from_numpy(np.concatenate([noise, black, white, ramp]).transpose(0, 3, 1, 2).copy())


def test_every_size_has_constants_of_every_corruption() -> None:
    assert {*SIZES} == {*_constants.CONSTANTS} == {32, 64}
    for table in _constants.CONSTANTS.values():
        assert tuple(table) == NAMES
        assert {len(severities) for severities in table.values()} == {5}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_constants_are_the_published_ones(name: str, size: int) -> None:
    """Typed twice. The oracle has lengths in pixels, and the zoom factors instead of their end."""
    for severity in SEVERITIES:
        ours, theirs = _constants.CONSTANTS[size][name][severity - 1], oracle.constants(name, severity, size)
        if name == "zoom_blur":
            assert np.array_equal(blur.zoom_factors(*ours), theirs)
        else:
            unit = size if name == "elastic_transform" else 1
            assert np.allclose(np.multiply(unit, ours), theirs, rtol=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", sorted(DETERMINISTIC))
def test_equals_oracle(large: Tensor, name: str, severity: int) -> None:
    assert_equals_oracle(large[::2], name, severity)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", RANDOM)
def test_equals_oracle_with_the_same_draws(large: Tensor, name: str, severity: int) -> None:
    ours, theirs = replay.both(large[-6:], name, severity, seed=severity)
    assert not torch.equal(ours, large[-6:])
    off = (ours.int() - theirs.int()).abs()
    assert (off <= 1).double().mean() >= 0.995
    assert off.double().mean() <= 0.3
    if name in POINTWISE:
        assert off.max() <= 1


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "frost", "fog", "elastic_transform"])
def test_changes_as_the_oracle_does_on_draws_of_its_own(large: Tensor, name: str) -> None:
    assert_same_distribution(large[:-3], name, 5)


def test_glass_blur_follows_the_walk_where_it_has_been(large: Tensor) -> None:
    """At a distance of 2 a pixel may copy one that was changed before, and that one another: bit by bit as walked."""
    pixels = large[:4].float()
    draws = torch.randint(16, (4, 60, 60), generator=torch.Generator().manual_seed(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_draws, "integers", lambda *args: draws)
        moved = blur._take_neighbours(pixels, 2, torch.Generator())
    expected = pixels.clone()
    once = pixels.clone()
    for image in range(4):
        for h in range(62, 2, -1):
            for w in range(62, 2, -1):
                down, across = divmod(int(draws[image, h - 3, w - 3]), 4)
                near = h + 1 - down, w + 1 - across
                expected[image, :, h, w] = expected[image, :, near[0], near[1]]
                once[image, :, h, w] = pixels[image, :, near[0], near[1]]
    assert torch.equal(moved, expected)
    assert not torch.equal(moved, once)


def test_zoom_blur_is_the_mean_of_zoomed_images(large: Tensor) -> None:
    image = large[0, 0].double().numpy()
    factors = np.arange(1, 1.26, 0.01)
    expected = (image + sum(oracle.clipped_zoom(image, factor) for factor in factors)) / (len(factors) + 1)
    blurred = blur.zoom_blur(large[:1].float(), (1.26,), None)
    assert np.allclose(blurred[0, 0].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("radius", "alias"), [(2.5, 0.01), (3, 0.1)])
def test_defocus_kernel_of_a_wide_disk(radius: float, alias: float) -> None:
    disk = np.array([[math.hypot(i, j) <= radius for j in range(-8, 9)] for i in range(-8, 9)], dtype=np.float64)
    expected = cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigmaX=alias)
    assert np.allclose(blur.defocus_kernel(radius, alias), expected, atol=1e-9)
