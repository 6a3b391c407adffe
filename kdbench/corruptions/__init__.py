"""The 19 corruptions of CIFAR-C, batched over images.

The definition is the behaviour of the script that made the published CIFAR-10-C and CIFAR-100-C arrays
(Hendrycks & Dietterich 2019, ``make_cifar_c.py`` of ``hendrycks/robustness``), with its constants for 32x32 images::

    generator = torch.Generator().manual_seed(0)
    noisy = corrupt(images, "gaussian_noise", 3, generator=generator)    # uint8 (N, 3, 32, 32) in and out

Images made here are draws from the same distribution as the published ones, not the same draws: scores that are to be
compared with published numbers need the published arrays (:func:`load_published`).
"""

from __future__ import annotations

from kdbench.corruptions._corrupt import SIZE, corrupt
from kdbench.corruptions._table import DETERMINISTIC, NAMES, SEVERITIES
from kdbench.corruptions.published import load_published, published_folder, published_status

__all__ = [
    "DETERMINISTIC",
    "NAMES",
    "SEVERITIES",
    "SIZE",
    "corrupt",
    "load_published",
    "published_folder",
    "published_status",
]
