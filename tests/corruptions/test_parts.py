"""Known answers for the parts that the corruptions are made of."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from kdbench.corruptions import _linear, blur, corrupt, digital, frost_textures, weather
from kdbench.corruptions._pixels import grey, to_bytes, truncate

from . import oracle


def test_every_level_survives_the_scale_of_one() -> None:
    """x / 255 * 255 in float32 falls short of x for some levels; truncation must not lower them."""
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(levels.float()), levels)
    assert torch.equal(to_bytes(levels.float() / 255 * 255), levels)
    assert torch.equal(truncate(levels.float() / 255 * 255), levels.float())


def test_grey_has_opencv_weights(images: Tensor) -> None:
    expected = cv2.cvtColor(images[0].permute(1, 2, 0).float().numpy(), cv2.COLOR_RGB2GRAY)
    assert np.allclose(grey(images[:1].float())[0, 0].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("boundary", "mode"), [("nearest", "nearest"), ("reflect", "reflect"), ("mirror", "mirror")])
@pytest.mark.parametrize("radius", [1, 4, 19])
def test_filter_matrix_is_a_correlation(boundary: _linear.Boundary, mode: str, radius: int) -> None:
    rng = np.random.default_rng(0)
    kernel, signal = rng.normal(size=2 * radius + 1), rng.normal(size=32)
    expected = ndimage.correlate1d(signal, kernel, mode=mode)
    assert np.allclose(_linear.filter_matrix(kernel, 32, boundary) @ signal, expected)


@pytest.mark.parametrize("zoom", [*np.arange(1, 1.26, 0.01), 1.75, 2.25])
def test_zoom_matrix_is_the_clipped_zoom(zoom: float) -> None:
    image = np.random.default_rng(0).random((32, 32))
    matrix = _linear.zoom_matrix(float(zoom), 32)
    assert np.allclose(matrix @ image @ matrix.T, oracle.clipped_zoom(image, float(zoom)))


def test_zoom_counts() -> None:
    assert [len(blur.zoom_factors(stop)) for stop in (1.06, 1.11, 1.16, 1.21, 1.26)] == [7, 12, 16, 21, 26]


def test_motion_offsets_at_chosen_angles() -> None:
    degrees = torch.tensor([0.0, 45.0, -45.0, -90.0, 20.0])
    across, down = blur.motion_offsets(4, degrees)
    assert across.T.tolist() == [[0, 1, 2, 3], [0, 1, 1, 2], [0, 1, 1, 2], [0, 0, 0, 0], [0, 1, 2, 3]]
    assert down.T.tolist() == [[0, 0, 0, 0], [0, 1, 1, 2], [0, -1, -1, -2], [0, -1, -2, -3], [0, 0, 1, 1]]


def test_motion_blur_of_a_dot_is_a_one_sided_line() -> None:
    """Reading 1, 2, ... pixels to the right of a place smears a dot to its left."""
    dot = torch.zeros(1, 1, 32, 32)
    dot[0, 0, 16, 16] = 255
    line = blur.blur_along(dot, 6, 2.0, torch.tensor([0.0]))[0, 0]
    weights = [math.exp(-(i**2) / 8) for i in range(13)]
    expected = [math.floor(255 * weight / sum(weights)) for weight in weights]
    assert line[16, 4:17].flip(0).tolist() == expected
    assert line.sum() == sum(expected)


@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (9, 2.5), (14, 12)])
def test_dropped_motion_weights_weigh_nothing(radius: int, sigma: float) -> None:
    exact = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    kept = blur.motion_weights(radius, sigma)
    assert np.abs(exact[: len(kept)] / exact.sum() - kept).sum() < 2e-6
    assert sum(kept) == pytest.approx(1)


def test_glass_blur_duplicates_pixels_and_never_invents_one() -> None:
    """Without blur (severity 1: sigma 0.05) a pixel is a copy of itself or of its left, upper or upper left one."""
    image = torch.arange(1024).reshape(1, 1, 32, 32)
    image = torch.cat([image % 256, image // 256, torch.zeros_like(image)], dim=1).to(torch.uint8)
    moved = corrupt(image, "glass_blur", 1, generator=torch.Generator().manual_seed(0))[0].long()
    source = moved[0] + 256 * moved[1]
    place = torch.arange(1024).reshape(32, 32)
    step = place - source
    assert set(step[2:, 2:].unique().tolist()) == {0, 1, 32, 33}
    assert (step[:2] == 0).all() and (step[:, :2] == 0).all()
    # an exchange would keep every pixel once
    assert len(source.unique()) < 1024
    counts = [(step[2:, 2:] == kind).float().mean().item() for kind in (0, 1, 32, 33)]
    assert counts == pytest.approx([0.25] * 4, abs=0.08)


def test_plasma_fractal_spans_zero_to_one() -> None:
    plasma = weather.plasma_fractal(50, 32, 2.0, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert plasma.shape == (50, 32, 32)
    assert torch.equal(plasma.amin(dim=(1, 2)), torch.zeros(50))
    assert torch.equal(plasma.amax(dim=(1, 2)), torch.ones(50))


def test_plasma_fractal_wraps_around() -> None:
    """The first column lies as close to the last one, across the border, as to the second."""
    plasma = weather.plasma_fractal(400, 32, 3.0, torch.Generator().manual_seed(0), torch.device("cpu"))
    for first, second, last in (
        (plasma[:, :, 0], plasma[:, :, 1], plasma[:, :, -1]),
        (plasma[:, 0], plasma[:, 1], plasma[:, -1]),
    ):
        inside, across = (first - second).abs().mean().item(), (first - last).abs().mean().item()
        assert across == pytest.approx(inside, rel=0.1)


def test_frost_has_five_textures_and_not_the_sixth() -> None:
    textures, sizes = frost_textures.load_textures()
    assert len(textures) == len(sizes) == 5
    for which in range(5):
        expected = oracle.frost_texture(which)
        assert tuple(sizes[which].tolist()) == expected.shape[:2]
        height, width = sizes[which].tolist()
        assert np.array_equal(textures[which, :, :height, :width].permute(1, 2, 0).numpy(), expected)


def test_frost_draws_all_five_textures_inside_their_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textures of one level each (40, 80, ...) and 0 around them: on black, frost shows which one was drawn."""
    _, sizes = frost_textures.load_textures()
    height, width = sizes.amax(dim=0).tolist()
    marked = torch.zeros(5, 3, height, width)
    for which, (rows, columns) in enumerate(sizes.tolist()):
        marked[which, :, :rows, :columns] = 40 * (which + 1)
    monkeypatch.setattr(weather, "load_textures", lambda: (marked, sizes))
    black = torch.zeros(2000, 3, 32, 32, dtype=torch.uint8)
    frosted = corrupt(black, "frost", 4, generator=torch.Generator().manual_seed(0)).flatten(1)
    levels, counts = torch.unique(frosted, return_counts=True)
    assert levels.tolist() == [16, 32, 48, 64, 80]
    shares = counts / counts.sum()
    assert shares.tolist() == pytest.approx([0.2] * 5, abs=0.05)


@pytest.mark.parametrize(("radius", "alias"), [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)])
def test_defocus_kernel(radius: float, alias: float) -> None:
    kernel = blur.defocus_kernel(radius, alias)
    assert kernel.sum() == pytest.approx(1)
    disk = np.zeros((17, 17))
    for i in range(-8, 9):
        for j in range(-8, 9):
            disk[8 + i, 8 + j] = math.hypot(i, j) <= radius
    assert np.allclose(kernel, cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigmaX=alias), atol=1e-9)


def test_elastic_severity_one_moves_each_anchor_by_at_most_its_reach() -> None:
    """Severity 1 is the affine map alone: what stood at an anchor is found within 2.56 pixels of it."""
    positions = digital._affine_positions(torch.zeros(500, 3, 32, 32), 2.56, torch.Generator().manual_seed(0))
    for x, y in ((26, 26), (26, 6), (6, 6)):
        shift = (positions[:, :, y, x] - torch.tensor([x, y])).abs()
        # the inverse map scales the move by little
        assert 1.5 < shift.max() < 4.5
