"""Changes of colour: brightness, contrast, saturation.

Every function takes ``pixels`` float32 (N, 3, S, S) on the scale 0 ... 255, the constants of one severity and a
generator (unused: nothing here is random), and returns the same shape and scale.
Source: see ``_constants``.

Brightness and saturation are defined in HSV. There a colour is V (1 - S k) per channel, with k in [0, 1] fixed by the
hue, so a change of V or S alone needs no hue: k = (V - x) / (V S) can be read off the pixel itself.
"""

from __future__ import annotations

import torch
from torch import Tensor


def brightness(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """V + c in HSV, clipped at white."""
    (added,) = constants
    value = pixels.amax(dim=1, keepdim=True)
    brighter = (value + 255 * added).clamp_(max=255)
    # black has no hue and no saturation: it becomes grey
    return torch.where(value > 0, pixels * (brighter / value.clamp(min=1)), brighter)


def contrast(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """(x - mean) c + mean, the mean of each channel over the image."""
    (factor,) = constants
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return (pixels - mean).mul_(factor).add_(mean)


def saturate(pixels: Tensor, constants: tuple[float, ...], generator: object) -> Tensor:
    """S a + b in HSV, clipped to [0, 1]."""
    factor, added = constants
    value = pixels.amax(dim=1, keepdim=True)
    chroma = value - pixels.amin(dim=1, keepdim=True)
    saturation = (chroma / value.clamp(min=1) * factor + added).clamp_(0, 1)
    position = (value - pixels) / chroma.clamp(min=1)
    # grey has no hue; HSV calls it 0, which is red
    red = torch.tensor([0.0, 1.0, 1.0], device=pixels.device).reshape(1, 3, 1, 1)
    position = torch.where(chroma > 0, position, red)
    return value - value * saturation * position
