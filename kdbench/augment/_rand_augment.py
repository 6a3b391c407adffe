"""RandAugment with the 16 operations and the 0..30 scale of the widely used ildoonet/pytorch-randaugment.

Cubuk et al. 2020 is the paper; GJS (Englesson & Azizpour 2021) and NRD (Shon et al. 2024) used this implementation, in
which a small magnitude is strong for many operations: at 3, colour, contrast, brightness and sharpness keep 28 % of the
image and solarize inverts nearly everything. torchvision's RandAugment at 3 is far milder.
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
from kdbench.errors import KdbenchError


def _value(minimum: float, maximum: float, draw: Draw) -> Tensor:
    return minimum + draw.amount / 30.0 * (maximum - minimum)


def _signed(maximum: float, draw: Draw) -> Tensor:
    """float64: ``fixed_point`` rounds it."""
    return draw.sign * (draw.amount.double() / 30.0 * maximum)


def _nearest(warp: Callable[[Tensor], Tensor], maximum: float) -> Callable[[Draw], Tensor]:
    """A warp by a value on a scale to ``maximum``, either way."""
    return lambda draw: geometry.fixed_point(warp(_signed(maximum, draw)))


def _turn(draw: Draw) -> Tensor:
    return geometry.fixed_point(geometry.rotation(_signed(30, draw), draw.height, draw.width))


def _enhancement(draw: Draw) -> Tensor:
    return scalar(_value(0.1, 1.9, draw))


def _box(draw: Draw) -> Tensor:
    side = _value(0, 40, draw)
    # The original draws the centre from numpy's uniform(w), which lies between 1 and w, and Pillow paints the last
    # row and column too: a side of 4 covers 5x5 pixels.
    centre_x = draw.width - (draw.width - 1) * draw.place[..., 0]
    centre_y = draw.height - (draw.height - 1) * draw.place[..., 1]
    left = (centre_x - side / 2).clamp(min=0).floor()
    top = (centre_y - side / 2).clamp(min=0).floor()
    unused = torch.zeros_like(side)
    return torch.stack([left, (left + side).floor(), top, (top + side).floor(), unused, unused], dim=-1)


OPERATIONS = (
    Operation("autocontrast", levels.autocontrast, nothing),
    Operation("equalize", levels.equalize, nothing),
    Operation("invert", levels.solarize, nothing),
    Operation("rotate", geometry.warp_nearest, _turn),
    Operation("posterize", levels.posterize, lambda draw: scalar(_value(0, 4, draw).floor().clamp(min=1))),
    Operation("solarize", levels.solarize, lambda draw: scalar(_value(0, 256, draw))),
    Operation("solarize_add", levels.solarize_add, lambda draw: scalar(_value(0, 110, draw))),
    Operation("color", levels.color, _enhancement),
    Operation("contrast", levels.contrast, _enhancement),
    Operation("brightness", levels.brightness, _enhancement),
    Operation("sharpness", levels.sharpness, _enhancement),
    Operation("shear_x", geometry.warp_nearest, _nearest(geometry.shear_x, 0.3)),
    Operation("shear_y", geometry.warp_nearest, _nearest(geometry.shear_y, 0.3)),
    Operation("cutout", levels.paint_box, _box),
    Operation("translate_x", geometry.warp_nearest, _nearest(geometry.translate_x, 100)),
    Operation("translate_y", geometry.warp_nearest, _nearest(geometry.translate_y, 100)),
)
"""In the order of the original list; a draw picks one of the sixteen with equal probability."""


@cpu_without_float64
def rand_augment(images: Tensor, generator: torch.Generator, *, n: int = 1, m: float = 3) -> Tensor:
    """Apply ``n`` operations, drawn with replacement for each image, at magnitude ``m`` of 0..30.

    float (B,3,H,W) in [0,1] in and out, on the grid of 8-bit levels (other values are rounded to it). The value of an
    operation is ``min + m / 30 * (max - min)``; rotations, shears and translations go either way with probability
    1/2. Raises ``KdbenchError`` for n < 0 or m outside 0..30.
    """
    batch, _, height, width = check_images(images, channels=3)
    if n < 0 or not 0 <= m <= 30:
        raise KdbenchError(f"rand_augment found n={n}, m={m}, expected n >= 0 and 0 <= m <= 30", "n=1, m=3 is usual")
    draw = Draw(
        amount=torch.full((n, batch), float(m), device=images.device),
        sign=signs((n, batch), generator, images.device),
        place=uniform((n, batch, 2), generator, images.device),
        height=height,
        width=width,
    )
    chosen = integers(0, len(OPERATIONS), (n, batch), generator, images.device)
    return augment_levels(images, plan_operations(OPERATIONS, chosen, draw))
