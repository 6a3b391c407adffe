"""The 19 corruptions of CIFAR-C and Tiny ImageNet-C, batched over images.

The definition is the behaviour of the scripts that made the published images (Hendrycks & Dietterich 2019,
``hendrycks/robustness``): ``make_cifar_c.py`` with its constants for images of 32x32 pixels, ``make_tinyimagenet_c.py``
with its own for 64x64, without the JPEG files of quality 85 in which Tiny ImageNet-C is stored. Of other sizes nothing
is published, and they are refused::

    generator = torch.Generator().manual_seed(0)
    noisy = corrupt(images, "gaussian_noise", 3, generator=generator)    # uint8 (N, 3, S, S) in and out

Images made here are draws from the same distribution as the published ones, not the same draws: scores that are to be
compared with published numbers need the published arrays (:func:`find_published`).
"""

from __future__ import annotations

from kdbench.corruptions._constants import SEVERITIES, SIZES
from kdbench.corruptions._corrupt import corrupt, published_sizes
from kdbench.corruptions._table import DETERMINISTIC, NAMES
from kdbench.corruptions.published import PublishedArrays, find_published, published_status

__all__ = [
    "DETERMINISTIC",
    "NAMES",
    "SEVERITIES",
    "SIZES",
    "PublishedArrays",
    "corrupt",
    "find_published",
    "published_sizes",
    "published_status",
]
