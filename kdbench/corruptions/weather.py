"""Weather: snow, frost, fog.

Every function takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255, the constants of one severity and a
generator, and returns the same shape and scale, not yet clipped. Source: see ``_constants``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from kdbench.corruptions import _draws, _linear
from kdbench.corruptions._pixels import grey, truncate
from kdbench.corruptions.blur import blur_along
from kdbench.corruptions.frost_textures import load_textures

_FIRST_WIBBLE = 100.0
"""Amplitude of the plasma fractal's first step; only its ratio to the later ones matters."""


def snow(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Flakes blurred along a slanting direction, added twice (once rotated by 180 degrees) to a whitened image."""
    mean, std, zoom, threshold, radius, sigma, blend = constants
    count, _, height, width = pixels.shape
    layer = _draws.normal((count, 1, height, width), mean, std, generator, pixels.device)
    enlarge = _zoom_matrix(zoom, width).to(pixels.device)
    layer = _linear.apply(layer, enlarge, enlarge)
    flakes = truncate(255 * layer.masked_fill_(layer < threshold, 0))
    degrees = _draws.uniform((count,), -135.0, -45.0, generator, pixels.device)
    flakes = blur_along(flakes, int(radius), sigma, degrees)
    whitened = torch.maximum(pixels, 1.5 * grey(pixels) + 0.5 * 255)
    return blend * pixels + (1 - blend) * whitened + (flakes + flakes.flip(2, 3))


@lru_cache(maxsize=8)
def _zoom_matrix(zoom: float, size: int) -> Tensor:
    return _linear.as_tensor(_linear.zoom_matrix(zoom, size))


def frost(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """a x + b f, with f a random crop of a random texture at a scale of the original photograph."""
    kept, added, scale = constants
    height, width = pixels.shape[2:]
    textures, sizes = load_textures(scale)
    windows = textures.to(pixels.device).unfold(2, height, 1).unfold(3, width, 1)
    which = _draws.integers((len(pixels),), len(textures), generator, pixels.device)
    room = sizes.to(pixels.device)[which] - torch.tensor([height, width], device=pixels.device)
    corner = _draws.below(room, generator)
    return windows[which, :, corner[:, 0], corner[:, 1]].mul_(added).add_(pixels, alpha=kept)


def fog(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """(x + a P) m / (m + a), with P a plasma fractal and m the image's largest value in [0, 1]."""
    amount, decay = constants
    brightest = pixels.amax(dim=(1, 2, 3), keepdim=True) / 255
    plasma = plasma_fractal(len(pixels), pixels.shape[-1], decay, generator, pixels.device)
    return (pixels + (255 * amount) * plasma[:, None]) * (brightest / (brightest + amount))


def plasma_fractal(count: int, size: int, decay: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Diamond-square height maps that wrap around: float32 (count, size, size), each from 0 to 1.

    ``size`` is a power of two. A step gives every square's centre the mean of its corners, then every edge's midpoint
    the mean of its four neighbours, each plus wibble U(-wibble, wibble); the wibble is divided by ``decay`` from step
    to step, and so is the side of the squares by 2.
    """
    heights = torch.zeros(count, size, size, device=device)
    wibble = _FIRST_WIBBLE
    step = size
    while step >= 2:
        half = step // 2
        cells = size // step
        noise = _draws.uniform((3, count, cells, cells), -(wibble**2), wibble**2, generator, device)
        corners = heights[:, ::step, ::step]
        right, below = corners + corners.roll(-1, 2), corners + corners.roll(-1, 1)
        centres = (right + right.roll(-1, 1)) / 4 + noise[0]
        heights[:, ::step, half::step] = (right + centres + centres.roll(1, 1)) / 4 + noise[1]
        heights[:, half::step, ::step] = (below + centres + centres.roll(1, 2)) / 4 + noise[2]
        heights[:, half::step, half::step] = centres
        step = half
        wibble /= decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)
