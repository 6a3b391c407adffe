"""The two views of noise-robust training: what a student and what its teacher sees."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.augment._augmix import augmix
from kdbench.augment._crop import Fill, crop_flip, cutout
from kdbench.augment._rand_augment import rand_augment

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
"""Mean colour of CIFAR-10's training pixels, as in the public code of GJS."""


def strong_view(
    images: Tensor,
    generator: torch.Generator,
    *,
    m: float = 3,
    cutout_length: int = 16,
    fill: Fill = CIFAR10_MEAN,
    flip: bool = True,
) -> Tensor:
    """The strong augmentation of GJS (Englesson & Azizpour 2021); float (B,3,H,W) in [0,1] in and out.

    RandAugment(1, m), crop after padding with 4 black pixels, flip, cutout. There the cut-out pixels are 0 after
    normalisation: ``fill`` is the mean that the model's normalisation subtracts. A ``cutout_length`` of 0 turns it off.
    """
    augmented = rand_augment(images, generator, n=1, m=m)
    augmented = crop_flip(augmented, generator, padding=4, mode="zeros", flip=flip)
    return cutout(augmented, generator, length=cutout_length, fill=fill)


def teacher_view(images: Tensor, generator: torch.Generator, *, severity: float = 3.0, flip: bool = True) -> Tensor:
    """The vicinal view of NRD's teacher (Shon et al. 2024): AugMix, crop after padding with 4 black pixels, flip.

    float (B,3,H,W) in [0,1] in and out; neither RandAugment nor cutout.
    """
    return crop_flip(augmix(images, generator, severity=severity), generator, padding=4, mode="zeros", flip=flip)
