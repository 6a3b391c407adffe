"""Batched augmentations: float (B,3,H,W) in [0,1] in and out, on the images' device, one draw for each image.

Everything random comes from the generator that is passed in: the same state and the same images give the same bits. The
generator may live on the CPU or on the images' device.
"""

from __future__ import annotations

from kdbench.augment._augmix import augmix
from kdbench.augment._auto_augment import auto_augment
from kdbench.augment._crop import crop_flip, cutout
from kdbench.augment._erasing import random_erasing
from kdbench.augment._photograph import colour_jitter, photograph_view, resized_crop
from kdbench.augment._rand_augment import rand_augment
from kdbench.augment._views import CIFAR10_MEAN, strong_view, teacher_view

__all__ = [
    "CIFAR10_MEAN",
    "augmix",
    "auto_augment",
    "colour_jitter",
    "crop_flip",
    "cutout",
    "photograph_view",
    "rand_augment",
    "random_erasing",
    "resized_crop",
    "strong_view",
    "teacher_view",
]
