"""A data set whose first pixels are an example's place in the official order: who sees an image knows its entry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdbench.data import CIFAR10_CLASSES, Dataset
from kdbench.data.base import make_image_set


def pixels(size: int) -> npt.NDArray[np.uint8]:
    """Images uint8 (size, 3, 32, 32), random but for the first two pixels."""
    images = np.random.default_rng(1).integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(size), 256)
    return images


def entries(images: Tensor) -> Tensor:
    """The place of each image, uint8 (n, 3, 32, 32), in the official order: int64 (n,)."""
    return images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1].long()


def clean_labels(size: int) -> npt.NDArray[np.int64]:
    """Labels in the official order, of which neighbours say nothing."""
    return np.random.default_rng(2).permutation(np.arange(size) % 10)


def noisy_labels(size: int, share: float, seed: int = 3) -> npt.NDArray[np.int64]:
    """The same with the next class for a share of the examples."""
    chosen = np.random.default_rng(seed).permutation(size)[: round(share * size)]
    labels = clean_labels(size)
    labels[chosen] = (labels[chosen] + 1) % 10
    return labels


def numbered(size: int, source: str = "official archive") -> Dataset:
    """The data set, with its training images for test images."""
    images = make_image_set(
        "cifar10/train", torch.from_numpy(pixels(size)), torch.from_numpy(clean_labels(size)), CIFAR10_CLASSES, source
    )
    return Dataset("cifar10", CIFAR10_CLASSES, 32, images, images)
