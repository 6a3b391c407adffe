"""AutoAugment (Cubuk et al. 2019) with the policy found for CIFAR-10, as torchvision's ``AutoAugment`` defines it.

Magnitudes are ten bins of torchvision's scales, its shears turn about the top-left corner, and pixels from outside the
image are black. torchvision takes the paper's scales, except that the signs of all signed operations are drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kdbench.augment import _geometry as geometry
from kdbench.augment import _levels as levels
from kdbench.augment._crop import check_images
from kdbench.augment._operations import Draw, Operation, augment_levels, nothing, plan_operations, scalar
from kdbench.augment._random import integers, signs, uniform
from kdbench.devices import cpu_without_float64

BINS = 10


def _scaled(draw: Draw, first: float, last: float) -> Tensor:
    """The value of the drawn bin on a scale of ten from ``first`` to ``last``."""
    # Filled on the CPU in float32, as torchvision does: thresholds such as 170 come out exactly like there.
    return torch.linspace(first, last, BINS).to(draw.amount.device)[draw.amount.long()]


def _bits(draw: Draw) -> Tensor:
    return scalar(8 - (draw.amount * 4 / (BINS - 1)).round())


def _enhancement(draw: Draw) -> Tensor:
    return scalar(1 + draw.sign * _scaled(draw, 0, 0.9))


def _turn(draw: Draw) -> Tensor:
    degrees = (draw.sign * _scaled(draw, 0, 30)).double()
    return geometry.fixed_point(geometry.rotation(degrees, draw.height, draw.width))


def _shear(warp: Callable[[Tensor], Tensor]) -> Callable[[Draw], Tensor]:
    return lambda draw: geometry.fixed_point(warp((draw.sign * _scaled(draw, 0, 0.3)).double()))


def _shift(warp: Callable[[Tensor], Tensor], side: Callable[[Draw], int]) -> Callable[[Draw], Tensor]:
    """To the right or down for a positive sign, by whole pixels."""
    return lambda draw: geometry.fixed_point(warp(-(draw.sign * _scaled(draw, 0, 150 / 331 * side(draw)).trunc())))


OPERATIONS = (
    Operation("shear_y", geometry.warp_nearest, _shear(geometry.shear_y)),
    Operation("translate_x", geometry.warp_nearest, _shift(geometry.translate_x, lambda draw: draw.width)),
    Operation("translate_y", geometry.warp_nearest, _shift(geometry.translate_y, lambda draw: draw.height)),
    Operation("rotate", geometry.warp_nearest, _turn),
    Operation("brightness", levels.brightness, _enhancement),
    Operation("color", levels.color, _enhancement),
    Operation("contrast", levels.contrast, _enhancement),
    Operation("sharpness", levels.sharpness, _enhancement),
    Operation("posterize", levels.posterize, _bits),
    Operation("solarize", levels.solarize, lambda draw: scalar(_scaled(draw, 255, 0))),
    Operation("autocontrast", levels.autocontrast, nothing),
    Operation("equalize", levels.equalize, nothing),
    Operation("invert", levels.solarize, nothing),
)
"""What the policy for CIFAR-10 uses; a draw's amount is the bin, 0..9."""

Step = tuple[str, float, int]
"""An operation, its probability, and its bin; 0 where it has no magnitude."""

SUB_POLICIES: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
"""The 25 pairs of the paper's table for CIFAR-10; a draw picks one of them with equal probability."""


@cpu_without_float64
def auto_augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """One sub-policy for each image: its two operations in order, each with its own probability and a random sign.

    float (B,3,H,W) in [0,1] in and out, on the grid of 8-bit levels (other values are rounded to it). Given the same
    choices the levels are those of ``torchvision.transforms.AutoAugment(AutoAugmentPolicy.CIFAR10)`` on a Pillow image.
    Raises ``KdbenchError`` for images of another shape or type.
    """
    batch, _, height, width = check_images(images, channels=3)
    device = images.device
    names = [operation.name for operation in OPERATIONS]
    steps = torch.tensor(
        [
            [(names.index(name), probability, magnitude) for name, probability, magnitude in pair]
            for pair in SUB_POLICIES
        ],
        device=device,
    )
    drawn = steps[integers(0, len(SUB_POLICIES), (batch,), generator, device)]
    operation, probability, magnitude = drawn.transpose(0, 1).unbind(-1)
    applied = uniform((2, batch), generator, device) <= probability
    draw = Draw(
        amount=magnitude,
        sign=signs((2, batch), generator, device),
        place=torch.zeros(2, batch, 2, device=device),
        height=height,
        width=width,
    )
    chosen = operation.long().masked_fill(~applied, len(OPERATIONS))
    return augment_levels(images, plan_operations(OPERATIONS, chosen, draw))
