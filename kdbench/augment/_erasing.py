"""Random erasing (Zhong et al. 2020): one rectangle of a random area and shape in some of the images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdbench.augment._crop import Fill, check_images, paint
from kdbench.augment._random import uniform
from kdbench.devices import cpu_without_float64
from kdbench.errors import KdbenchError

ATTEMPTS = 10
"""Rectangles tried for an image before it is left alone, in the paper's code 100, in torchvision 10."""


@cpu_without_float64
def random_erasing(
    images: Tensor,
    generator: torch.Generator,
    *,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    value: Fill = 0.0,
) -> Tensor:
    """Paint a rectangle with ``value`` in an image with ``probability``, as torchvision's ``RandomErasing`` does.

    float (B,C,H,W) in [0,1] in and out. The rectangle's share of the image is uniform on ``area`` and its height over
    its width log-uniform on ``ratio``, both sides rounded to pixels; the first of ten draws whose sides are below H and
    W counts, with a uniform place inside the image, and if there is none, the image stays as it is.
    Raises ``KdbenchError`` for a probability outside [0,1], an area without 0 <= low <= high <= 1, a ratio without
    0 < low <= high, or a value that is neither one number nor one for each channel.
    """
    batch, _, height, width = check_images(images)
    _check(probability, area, ratio)
    device = images.device
    erased = uniform((batch,), generator, device) < probability
    areas, shapes, places = (uniform((count, batch), generator, device).double() for count in (ATTEMPTS, ATTEMPTS, 2))
    pixels = height * width * (area[0] + (area[1] - area[0]) * areas)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shapes = (low + (high - low) * shapes).exp_()
    tall, wide = (pixels * shapes).sqrt_().round_(), (pixels / shapes).sqrt_().round_()

    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=0, keepdim=True)
    erased &= fits.any(dim=0)
    tall, wide = (sides.gather(0, first)[0] * erased for sides in (tall, wide))
    top = (places[0] * (height - tall + 1)).floor_()
    left = (places[1] * (width - wide + 1)).floor_()
    return paint(images, torch.stack([top, top + tall, left, left + wide], dim=1).long(), value)


def _check(probability: float, area: tuple[float, float], ratio: tuple[float, float]) -> None:
    if not 0 <= probability <= 1:
        raise KdbenchError(
            f"random_erasing found probability={probability}, expected a number in [0, 1]",
            "0.5 is usual; 0 turns it off",
        )
    if not 0 <= area[0] <= area[1] <= 1:
        raise KdbenchError(
            f"random_erasing found area={area}, expected (low, high) with 0 <= low <= high <= 1",
            "shares of the image: (0.02, 0.33) is usual",
        )
    if not 0 < ratio[0] <= ratio[1] < math.inf:
        raise KdbenchError(
            f"random_erasing found ratio={ratio}, expected (low, high) with 0 < low <= high",
            "height over width: (0.3, 3.3) is usual",
        )
