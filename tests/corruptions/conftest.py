"""Images for the tests of the corruptions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

_MADE = 120


def _smooth_noise(count: int) -> np.ndarray:
    """uint8 (count, 32, 32, 3): noise of several scales, with saturated regions, as a natural image has them."""
    rng = np.random.default_rng(20)
    total = np.zeros((count, 32, 32, 3))
    for sigma, strength in ((8, 1.0), (3, 0.7), (1, 0.4)):
        layer = ndimage.gaussian_filter(rng.normal(size=total.shape), (0, sigma, sigma, 0), mode="wrap")
        total += strength * layer / layer.std()
    shared = total.mean(axis=-1, keepdims=True)
    return np.uint8(np.clip(127 + 60 * (shared + 0.5 * total), 0, 255))


def _edge_cases() -> np.ndarray:
    """uint8 (6, 32, 32, 3): black, white, grey, pure red, white but for a black pixel, single levels 0 ... 255."""
    flat = [np.full((32, 32, 3), level, dtype=np.uint8) for level in (0, 255, 37)]
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 200
    dotted = np.full((32, 32, 3), 255, dtype=np.uint8)
    dotted[10, 20] = 0
    ramp = np.repeat(np.arange(1024, dtype=np.uint16).reshape(32, 32, 1) // 4, 3, axis=2).astype(np.uint8)
    return np.stack([*flat, red, dotted, ramp])


@pytest.fixture(scope="session")
def images() -> Tensor:
    """uint8 (126, 3, 32, 32): smooth noise and, last, six edge cases."""
    made = np.concatenate([_smooth_noise(_MADE), _edge_cases()])
    return torch.from_numpy(made.transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="session")
def photographs() -> Tensor:
    """uint8 (500, 3, 32, 32): test images of CIFAR-10."""
    root = os.environ.get("KDBENCH_DATA_DIR")
    if not root:
        pytest.skip("KDBENCH_DATA_DIR is not set: no photographs to corrupt")
    paths = [sorted(folder.glob("*.png"))[:50] for folder in sorted((Path(root) / "cifar10" / "test").iterdir())]
    found = np.stack([np.asarray(Image.open(path).convert("RGB")) for folder in paths for path in folder])
    return torch.from_numpy(found.transpose(0, 3, 1, 2).copy())


def channels_last(images: Tensor) -> np.ndarray:
    """(N, 32, 32, 3), as the oracle and the published arrays have it."""
    return images.permute(0, 2, 3, 1).numpy()
