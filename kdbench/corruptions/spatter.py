"""Spatter: drops of water or splashes of mud. Source: see ``_constants``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdbench.corruptions import _draws, _linear
from kdbench.corruptions._opencv import opencv

_WATER = (175.0, 238.0, 238.0)
_MUD = (63.0, 42.0, 20.0)
_THINNEST_MUD = 0.8
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)
"""An emboss filter: light from the lower right."""


def spatter(pixels: Tensor, constants: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Water (mud = 0) adds pale turquoise where there are drops; mud covers the image with brown.

    Takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255 and returns the same, not yet clipped. OpenCV works
    on the drops one image at a time on the CPU.
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
    amount = (liquid[:, 0] * 255).to(torch.int32).bitwise_and_(255).to(torch.uint8)
    stored = amount.cpu().numpy()
    relief = torch.from_numpy(np.stack([_relief(image) for image in stored])).to(liquid.device)
    light = amount.float() * relief
    # an image without any liquid stays as it is
    brightest = light.amax(dim=(1, 2), keepdim=True).clamp(min=1)
    return (light / brightest)[:, None]


def _relief(amount: np.ndarray) -> np.ndarray:
    """Shading of one image's liquid (uint8 (H, W)) by the distance from the drops' outlines: float32 (H, W)."""
    cv2 = opencv()
    distance = cv2.distanceTransform(255 - cv2.Canny(amount, 50, 150), cv2.DIST_L2, 5)
    blurred = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    shaded = cv2.filter2D(cv2.equalizeHist(blurred), cv2.CV_8U, _RELIEF)
    return np.asarray(cv2.blur(shaded, (3, 3)), dtype=np.float32)
