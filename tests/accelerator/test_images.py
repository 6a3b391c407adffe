"""Augmentations and corruptions on a device: the CPU's results, and few values that the host waits for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench import augment
from kdbench.corruptions import NAMES, corrupt
from kdbench.testing import counted_reads

AUGMENTATIONS = [name for name in augment.__all__ if name.islower()]
READS = {"auto_augment": 1, "augmix": 1, "rand_augment": 1, "strong_view": 1, "teacher_view": 1, "colour_jitter": 1}
"""Sizes of the groups that share an operation, or an order of operations, at once. What is not here reads nothing."""
DRAWN_FROM_PIXELS = "shot_noise"
"""A generator on the CPU draws it there from the pixels themselves."""


def pixels(count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(256, (count, 3, 8, 8), generator=generator).to(torch.uint8)
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.mark.parametrize("own", [False, True], ids=["generator on the CPU", "generator on the device"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_gives_what_it_gives_on_the_cpu(accelerator: torch.device, name: str, own: bool) -> None:
    images, function = pixels().float() / 255, getattr(augment, name)
    expected = function(images, torch.Generator().manual_seed(5))
    generator = torch.Generator(accelerator if own else "cpu").manual_seed(5)
    there = images.to(accelerator)
    with counted_reads() as reads:
        found = function(there, generator)
    reads.check(READS.get(name, 0), name)
    assert found.device == accelerator
    np.testing.assert_allclose(found.cpu().numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("own", [False, True], ids=["generator on the CPU", "generator on the device"])
@pytest.mark.parametrize("name", NAMES)
def test_a_corruption_gives_what_it_gives_on_the_cpu(accelerator: torch.device, name: str, own: bool) -> None:
    images = pixels(3)
    expected = corrupt(images, name, 5, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator(accelerator if own else "cpu").manual_seed(5)
    there = images.to(accelerator)
    with counted_reads() as reads:
        found = corrupt(there, name, 5, generator=generator)
    reads.check(int(name == DRAWN_FROM_PIXELS and not own), name)
    assert found.device == accelerator
    assert (found.cpu().int() - expected.int()).abs().max() <= 1
