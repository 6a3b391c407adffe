from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from kdbench.corruptions._chamfer import chamfer_distance

LIMIT = 20.0


def distances(edges: np.ndarray) -> np.ndarray:
    """float32 (H, W, N)."""
    return chamfer_distance(torch.from_numpy(edges), LIMIT).numpy()


def raster_scan(edges: np.ndarray) -> np.ndarray:
    """The same pixel by pixel, in both directions, and within a row one after the other."""
    height, width, count = edges.shape
    steps = [((0, -1), 1.0), ((-1, 0), 1.0), ((-1, -1), 1.4), ((-1, 1), 1.4)]
    steps += [((-1, -2), 2.1969), ((-1, 2), 2.1969), ((-2, -1), 2.1969), ((-2, 1), 2.1969)]
    found = np.full((height + 4, width + 4, count), LIMIT, dtype=np.float32)
    inside = found[2:-2, 2:-2]
    inside[edges] = 0
    for _ in range(2):
        for row in range(2, height + 2):
            for column in range(2, width + 2):
                here = found[row, column]
                for (down, right), length in steps:
                    np.minimum(here, found[row + down, column + right] + np.float32(length), out=here)
        found = found[::-1, ::-1]
    return found[2:-2, 2:-2]


def single_edges(height: int, width: int) -> np.ndarray:
    """bool (H, W, H * W): images with one edge pixel, one for every place."""
    return np.eye(height * width, dtype=bool).reshape(height, width, -1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (3, 50), (50, 3), (1, 9), (9, 1), (2, 2)])
def test_equals_a_raster_scan_from_every_single_pixel(height: int, width: int) -> None:
    """Both take the minimum over paths from edge pixels, so that any other image of this size is equal as well."""
    edges = single_edges(height, width)
    assert np.array_equal(distances(edges), raster_scan(edges))


@pytest.mark.parametrize("share", [0, 0.002, 0.02, 0.3, 1])
def test_equals_a_raster_scan_from_many_pixels(share: float) -> None:
    edges = np.random.default_rng(0).random((40, 40, 30)) < share
    assert np.array_equal(distances(edges), raster_scan(edges))


@pytest.mark.parametrize("share", [0.002, 0.02, 0.3])
def test_equals_opencv(share: float) -> None:
    """To the last bit where OpenCV has Intel's library; without it, it counts in units of 2^-16."""
    edges = np.random.default_rng(1).random((32, 32, 100)) < share
    expected = [
        cv2.distanceTransform(np.where(edges[:, :, one], 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
        for one in range(100)
        if edges[:, :, one].any()
    ]
    ours = distances(edges)[:, :, edges.any(axis=(0, 1))]
    off = np.abs(ours - np.minimum(np.stack(expected, axis=-1), LIMIT)).max()
    assert off <= (0 if cv2.ipp.useIPP() else 1e-4)


def test_known_distances() -> None:
    edges = np.zeros((9, 9, 1), dtype=bool)
    edges[4, 4] = True
    found = distances(edges)[:, :, 0]
    expected = [[2, 2.1969, 2.8], [1, 1.4, 2.1969], [0, 1, 2]]
    assert found[2:5, 4:7] == pytest.approx(np.array(expected))
    assert np.array_equal(found, found[::-1]) and np.array_equal(found, found.T)


def test_no_edge_is_at_the_limit() -> None:
    assert (distances(np.zeros((8, 8, 2), dtype=bool)) == LIMIT).all()
