"""Batched augmentations against torchvision's, one Pillow image at a time on every core.

Both sides make float images in [0,1] of the same decoded 8-bit ones and keep none of them. A worker of the peer has
decoded all images before the clock starts and returns a count only, so that nothing is charged for the transport.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from kdbench import augment

IMAGES = 4096
CHUNK = 256
"""Images that a worker takes at a time."""
Augmentation = Callable[[Tensor, torch.Generator], Tensor]

OURS: dict[str, Augmentation] = {
    "RandAugment": lambda images, generator: augment.rand_augment(images, generator, n=1, m=3),
    "AugMix": augment.augmix,
    "AutoAugment and random erasing": lambda images, generator: augment.random_erasing(
        augment.auto_augment(images, generator), generator
    ),
    "crop, flip and cutout": lambda images, generator: augment.cutout(
        augment.crop_flip(images, generator, padding=4, mode="zeros"), generator, length=16
    ),
}
REACH = {name: "at least 3x" if name == "AugMix" else "at least 1x" for name in OURS}
SAME_DISTRIBUTION = {"AutoAugment and random erasing"}
"""Elsewhere torchvision's transforms are the nearest ones: a milder RandAugment, other levels, whole squares."""


def torchvisions(name: str) -> Callable[[Image.Image], Tensor]:
    steps: dict[str, list[Callable[..., object]]] = {
        "RandAugment": [transforms.RandAugment(num_ops=1, magnitude=3), transforms.ToTensor()],
        "AugMix": [transforms.AugMix(all_ops=False), transforms.ToTensor()],
        "AutoAugment and random erasing": [
            transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
            transforms.ToTensor(),
            transforms.RandomErasing(),
        ],
        "crop, flip and cutout": [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0)),
        ],
    }
    composed: Callable[[Image.Image], Tensor] = transforms.Compose(steps[name])
    return composed


@lru_cache
def decoded(data_dir: Path) -> list[Image.Image]:
    """An even choice of CIFAR-10's training images."""
    files = sorted((data_dir / "cifar10/train").glob("*/*.png"))
    if len(files) < IMAGES:
        pytest.skip(f"fewer than {IMAGES} training images of CIFAR-10 in KDBENCH_DATA_DIR")
    return [Image.open(file).convert("RGB") for file in files[:: len(files) // IMAGES][:IMAGES]]


def pixels(data_dir: Path) -> Tensor:
    """The same images, uint8 (N,3,32,32)."""
    channels_last = torch.from_numpy(np.stack([np.asarray(image) for image in decoded(data_dir)]))
    return channels_last.permute(0, 3, 1, 2).contiguous()


def prepare_worker(data_dir: Path) -> None:
    torch.set_num_threads(1)
    decoded(data_dir)


def one_by_one(name: str, data_dir: Path, start: int) -> int:
    transform = torchvisions(name)
    return sum(transform(image).shape == (3, 32, 32) for image in decoded(data_dir)[start : start + CHUNK])


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    data_dir = os.environ.get("KDBENCH_DATA_DIR")
    if not data_dir:
        pytest.skip("KDBENCH_DATA_DIR is not set: no real images to measure on")
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=get_context("spawn"), initializer=prepare_worker, initargs=(Path(data_dir),)
    ) as pool:
        yield pool


@pytest.mark.parametrize("batch", [1024, 128])
@pytest.mark.parametrize("name", list(OURS))
def test_augmentation(
    name: str,
    batch: int,
    side_by_side: Callable[..., float],
    data_dir: Path,
    device: torch.device,
    workers: ProcessPoolExecutor,
) -> None:
    stored = pixels(data_dir).to(device)
    generator = torch.Generator(device).manual_seed(0)

    def ours() -> None:
        for images in torch.split(stored, batch):
            OURS[name](images.float().div_(255), generator)

    def peer() -> None:
        starts = range(0, IMAGES, CHUNK)
        assert sum(workers.map(one_by_one, *zip(*((name, data_dir, at) for at in starts), strict=True))) == IMAGES

    changes = mean_changes(name, data_dir)
    if name in SAME_DISTRIBUTION:
        # The change of one image has a standard deviation of about 45 levels.
        assert abs(changes[0] - changes[1]) < 5 * 45 * (2 / IMAGES) ** 0.5
    side_by_side(
        f"{name}, batches of {batch:,}", ours, peer,
        peer_name=f"torchvision, an image at a time in {os.cpu_count()} processes", n=IMAGES, reach=REACH[name],
        device=device, rounds=5,
        facts={
            "mean change of a pixel, levels of 255": round(changes[0], 1), "torchvision's": round(changes[1], 1),
        },
    )  # fmt: skip


@lru_cache
def mean_changes(name: str, data_dir: Path) -> tuple[float, float]:
    """How far an augmented image is from the image, ours and torchvision's, in levels of 255."""
    images = pixels(data_dir).float() / 255
    transform = torchvisions(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torch.stack([transform(image) for image in decoded(data_dir)])
    ours = OURS[name](images, torch.Generator().manual_seed(0))
    return (255 * (ours - images).abs().mean()).item(), (255 * (theirs - images).abs().mean()).item()
