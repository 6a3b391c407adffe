"""Spatter: drops of water or splashes of mud. Source: see ``_constants``."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.corruptions import _draws, _linear
from kdbench.corruptions._canny import canny
from kdbench.corruptions._chamfer import chamfer_distance
from kdbench.corruptions._equalise import equalise
from kdbench.corruptions._images_last import bordered, box_sum, images_first, images_last, neighbour

_WATER = (175.0, 238.0, 238.0)
_MUD = (63.0, 42.0, 20.0)
_THINNEST_MUD = 0.8
_EDGE_SLOPES = (50, 150)
_FARTHEST = 20
"""Pixels from an outline beyond which distance makes no difference."""
_UNITS = 2**23
"""In a pixel: what the distances, float32 and either 0 or at least 1, are whole multiples of."""


def spatter(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Water (mud = 0) adds pale turquoise where there are drops; mud covers the image with brown.

    Takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255 and returns the same, not yet clipped.
    """
    mean, std, sigma, threshold, strength, mud = constants
    count, _, height, width = pixels.shape
    liquid = _draws.normal((count, 1, height, width), mean, std, generator, pixels.device)
    liquid = _linear.gaussian_blur(liquid, sigma)
    if mud:
        cover = _linear.gaussian_blur((liquid > threshold).float(), strength)
        cover = cover.masked_fill_(cover < _THINNEST_MUD, 0)
        return pixels * (1 - cover) + cover * _colour(_MUD, pixels)
    return pixels + _drops(liquid.masked_fill_(liquid < threshold, 0)) * strength * _colour(_WATER, pixels)


def _colour(rgb: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(rgb, device=like.device).reshape(1, 3, 1, 1)


def _drops(liquid: Tensor) -> Tensor:
    """The drops' brightness (N, 1, H, W), at most 1 in an image, from the liquid: 0 or over the threshold."""
    # the script's cast to 8 bits wraps around: the rare amount over 1 starts again at 0
    amount = images_last((liquid[:, 0] * 255).to(torch.int32).bitwise_and_(255).to(torch.uint8))
    light = amount * _relief(amount).to(torch.float32)
    # an image without any liquid stays as it is
    brightest = light.amax(dim=(0, 1)).clamp(min=1)
    return images_first(light / brightest)[:, None]


def _relief(amount: Tensor) -> Tensor:
    """Shading of the liquid by the distance from the drops' outlines: uint8 (H, W, N) to int16, 0 ... 255."""
    distances = chamfer_distance(canny(amount, *_EDGE_SLOPES), _FARTHEST)
    # sums of distances are exact in units of 2^-23; their mean is rounded to float32, then truncated
    blurred = box_sum((distances * _UNITS).to(torch.int32)).double().mul_(1 / 9 / _UNITS).float().to(torch.int16)
    return _box_mean(_embossed(equalise(blurred, _FARTHEST + 1)))


def _embossed(levels: Tensor) -> Tensor:
    """Light from the lower right, int16 (H, W, N): the filter -2 -1 0 | -1 1 1 | 0 1 2, clipped to 0 ... 255."""
    levels = bordered(levels, "mirror")
    towards = neighbour(levels, 0, 1) + neighbour(levels, 1, 0) + 2 * neighbour(levels, 1, 1)
    away = neighbour(levels, 0, -1) + neighbour(levels, -1, 0) + 2 * neighbour(levels, -1, -1)
    return (neighbour(levels, 0, 0) + towards - away).clamp_(0, 255)


def _box_mean(levels: Tensor) -> Tensor:
    """Means of 3x3 levels, rounded; int16. Halves don't occur among ninths."""
    return box_sum(levels).to(torch.float32).mul_(1 / 9).add_(0.5).to(torch.int16)
