"""What JPEG does to pixels, without the file: the losses of libjpeg-turbo, bit for bit, for many images at once.

Colours become luma and chroma, chroma is halved (4:2:0), blocks of 8x8 are transformed and quantised; then all of it
back. Packing the quantised numbers loses nothing, so it is left out. Every step is arithmetic of whole numbers with a
stated rounding (ITU-T T.81, JFIF, and libjpeg's accurate integer transform), computed here in floating point that
holds these numbers exactly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions import _linear
from kdbench.corruptions._images_last import images_first, images_last

# Rows of T.81, annex K.1 and K.2, for quality 50.
_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *4 * ((99,) * 8,),
)

_ONE = 2.0**16
_TO_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
"""Red, green and blue to luma, blue and red chroma, in units of 1 / _ONE, as are the four below."""
_RED_OF_RED_CHROMA, _BLUE_OF_BLUE_CHROMA = 91881, 116130
_GREEN_OF_BLUE_CHROMA, _GREEN_OF_RED_CHROMA = -22554, -46802

_DCT_LEFT = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)
"""Left half of the 8x8 cosine transform times 2^13 sqrt(8). Where libjpeg's factors, each rounded for itself, add up to
one less or more than the rounded cosine, it is their sum that stands here."""
_DCT = np.array(
    [[*row, *(row[::-1] if i % 2 == 0 else [-entry for entry in row[::-1]])] for i, row in enumerate(_DCT_LEFT)]
)


def round_trip(images: Tensor, quality: int) -> Tensor:
    """``images`` saved as JPEG of ``quality`` (1 to 100; 4:2:0) and loaded again, as Pillow does it.

    Takes float32 (N, 3, H, W), whole numbers 0 ... 255, of at least 5x5 pixels, and returns the same.
    """
    height, width = images.shape[2:]
    luma, chroma = _to_ycc(_extended(images_last(images), 2, 16))
    luma = _quantised(_extended(luma, 8, 8), _steps(_LUMA_STEPS, quality))[:, :height, :width]
    chroma = _quantised(_extended(_halved(chroma), 8, 8), _steps(_CHROMA_STEPS, quality))
    chroma = chroma[:, : (height + 1) // 2, : (width + 1) // 2]
    return images_first(_to_rgb(luma, _doubled(chroma)[:, :height, :width]))


def _extended(planes: Tensor, rows: int, columns: int) -> Tensor:
    """(C, H, W, N) with its last row and column repeated until H is a multiple of ``rows`` and W of ``columns``."""
    below, beside = -planes.shape[1] % rows, -planes.shape[2] % columns
    if below:
        planes = torch.cat([planes, planes[:, -1:].expand(-1, below, -1, -1)], dim=1)
    if beside:
        planes = torch.cat([planes, planes[:, :, -1:].expand(-1, -1, beside, -1)], dim=2)
    return planes


def _to_ycc(planes: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (3, H, W, N) to luma (1, H, W, N) and chroma (2, H, W, N), all -128 ... 127."""
    # luma is rounded and then moved down by 128; halves of chroma are rounded down
    offset = torch.tensor([[_ONE / 2 - 128 * _ONE], [_ONE / 2 - 1], [_ONE / 2 - 1]], device=planes.device) / _ONE
    matrix = torch.tensor(_TO_YCC, dtype=torch.float32, device=planes.device) / _ONE
    ycc = (matrix @ planes.reshape(3, -1)).add_(offset).floor_().reshape(planes.shape)
    return ycc[:1], ycc[1:]


def _halved(chroma: Tensor) -> Tensor:
    """Means of 2x2, (2, H, W, N) to (2, H / 2, W / 2, N); halves are rounded up in odd columns only."""
    total = chroma[:, 0::2, 0::2] + chroma[:, 0::2, 1::2] + chroma[:, 1::2, 0::2] + chroma[:, 1::2, 1::2]
    bias = torch.arange(total.shape[2], device=chroma.device) % 2 + 1.0
    return total.add_(bias[:, None]).mul_(1 / 4).floor_()


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """(C, H, W, N), -128 ... 127, with H and W multiples of 8: transformed, rounded to multiples of ``steps``, back."""
    channels, height, width, count = planes.shape
    forward = torch.from_numpy(_DCT).to(planes.device, torch.float64)
    backward, steps = forward.T.contiguous(), steps.to(planes.device)
    # numbers of the first product stay below 2^24: float32 is exact
    rows = _rounded((forward * 2.0**-11).float() @ planes.reshape(-1, 8, count)).double()
    blocks = _rounded(forward * 2.0**-15 @ rows.reshape(-1, 8, width * count)).reshape(-1, 8, width // 8, 8, count)
    # a coefficient is 8 times too large here; the tiny increase takes halves away from zero and nothing else across
    blocks.mul_((1 + 2.0**-30) / (8 * steps)).round_().mul_(steps)
    columns = _rounded(backward * 2.0**-11 @ blocks.reshape(-1, 8, width * count))
    pixels = _rounded(backward * 2.0**-18 @ columns.reshape(-1, 8, count))
    return pixels.float().clamp_(-128, 127).reshape(channels, height, width, count)


def _rounded(values: Tensor) -> Tensor:
    """In place, halves up."""
    return values.add_(0.5).floor_()


@lru_cache(maxsize=16)
def _steps(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Quantisation steps (8, 1, 8, 1), float64, 1 ... 255: the table scaled as libjpeg scales it for a quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = ((np.array(table) * percent + 50) // 100).clip(1, 255)
    return torch.from_numpy(steps).double().reshape(8, 1, 8, 1)


def _doubled(chroma: Tensor) -> Tensor:
    """Chroma (2, h, w, N) to (2, 2 h, 2 w, N): 3/4 of the nearer and 1/4 of the next one along each axis."""
    channels, height, width, count = chroma.shape
    tall = _doubling(height).to(chroma.device) @ chroma.reshape(channels, height, width * count)
    wide = _doubling(width).to(chroma.device) @ tall.reshape(-1, width, count)
    # sixteenths: halves are rounded up in even columns and down in odd ones
    bias = torch.tensor([8 / 16, 7 / 16], device=chroma.device)[:, None]
    return wide.reshape(-1, width, 2, count).add_(bias).floor_().reshape(channels, 2 * height, 2 * width, count)


@lru_cache(maxsize=16)
def _doubling(size: int) -> Tensor:
    """(2 size, size)"""
    new = np.arange(2 * size)
    matrix = np.zeros((2 * size, size))
    matrix[new, new // 2] = 3 / 4
    np.add.at(matrix, (new, (new // 2 + 2 * (new % 2) - 1).clip(0, size - 1)), 1 / 4)
    return _linear.as_tensor(matrix)


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """Luma (1, H, W, N) and chroma (2, H, W, N), all -128 ... 127, to RGB (3, H, W, N), 0 ... 255."""
    blue, red = chroma
    rgb = luma.new_empty(3, *luma.shape[1:])
    torch.mul(red, _RED_OF_RED_CHROMA / _ONE, out=rgb[0])
    torch.mul(blue, _GREEN_OF_BLUE_CHROMA / _ONE, out=rgb[1]).add_(red, alpha=_GREEN_OF_RED_CHROMA / _ONE)
    torch.mul(blue, _BLUE_OF_BLUE_CHROMA / _ONE, out=rgb[2])
    return _rounded(rgb.add_(128)).add_(luma).clamp_(0, 255)
