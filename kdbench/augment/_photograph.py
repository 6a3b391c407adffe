"""The usual augmentations of photographs: a random part magnified to the whole, and jittered colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdbench.augment._crop import check_images
from kdbench.augment._random import coins, uniform
from kdbench.errors import KdbenchError

TRIES = 10
"""Boxes drawn for an image, of which the first that fits is taken, and the whole image if none does."""
GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in brightness, as in torchvision."""


def photograph_view(images: Tensor, generator: torch.Generator, *, jitter: bool = False, flip: bool = True) -> Tensor:
    """A weak view of photographs: ``resized_crop``, and with ``jitter`` also ``colour_jitter``, both at their defaults.

    float (B,3,H,W) in [0,1] in and out. With jitter it is the view of the WebVision experiments of Englesson &
    Azizpour 2021 and Shon et al. 2024.
    """
    cropped = resized_crop(images, generator, flip=flip)
    return colour_jitter(cropped, generator) if jitter else cropped


def resized_crop(
    images: Tensor,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: bool = True,
) -> Tensor:
    """Cut a box out of each image and magnify it to the old size, bilinearly; mirror every second image or so.

    float (B,C,H,W) in [0,1] in and out. The box has a share of the area uniform on ``scale`` and a ratio of width to
    height log-uniform on ``ratio``, at a uniform place; of ten draws the first that fits counts, as in torchvision's
    RandomResizedCrop. Raises ``KdbenchError`` for a range that is empty or outside (0,1], or a ratio not above 0.
    """
    batch, _, height, width = check_images(images)
    if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
        raise KdbenchError(
            f"resized_crop found scale={scale}, ratio={ratio}, expected 0 < low <= high <= 1 and 0 < low <= high",
            "scale=(0.08, 1) and ratio=(3/4, 4/3) are usual",
        )
    if batch == 0:
        return images.clone()
    boxes = draw_boxes(batch, height, width, generator, images.device, scale, ratio)
    mirrored = coins((batch,), generator, images.device) if flip else torch.zeros_like(boxes[:, 0], dtype=torch.bool)
    return magnify(images, boxes, mirrored)


def draw_boxes(
    batch: int,
    height: int,
    width: int,
    generator: torch.Generator,
    device: torch.device,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Tensor:
    """int64 (B,4): first row, first column, height and width of a box inside each of B images."""
    draws = uniform((4, batch, TRIES), generator, device)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    shape = torch.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * draws[1])
    tall, wide = (area / shape).sqrt().round().long(), (area * shape).sqrt().round().long()
    fits = (tall >= 1) & (tall <= height) & (wide >= 1) & (wide <= width)
    first = fits.int().argmax(1, keepdim=True)
    found = fits.any(1)
    tall = torch.where(found, tall.gather(1, first)[:, 0], height)
    wide = torch.where(found, wide.gather(1, first)[:, 0], width)
    top, left = (
        draw[:, 0] * (whole - part + 1) for draw, whole, part in ((draws[2], height, tall), (draws[3], width, wide))
    )
    return torch.stack([top.long(), left.long(), tall, wide], dim=1)


def magnify(images: Tensor, boxes: Tensor, mirrored: Tensor) -> Tensor:
    """Boxes (B,4), as ``draw_boxes`` gives them, of images (B,C,H,W) enlarged to (B,C,H,W); some of them mirrored.

    Pixels outside a box are not looked at. Nothing is averaged, as nothing is ever made smaller.
    """
    rows, columns = images.shape[2:]
    low, high, share = _neighbours(boxes[:, 0], boxes[:, 2], rows)
    tall = _between(images, 2, low, high, share)
    low, high, share = (
        torch.where(mirrored[:, None], part.flip(1), part) for part in _neighbours(boxes[:, 1], boxes[:, 3], columns)
    )
    return _between(tall, 3, low, high, share)


def _neighbours(start: Tensor, extent: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each of ``size`` pixels the two, (B,size) each, that it lies between, and how near it is to the second."""
    centre = (torch.arange(size, device=start.device) + 0.5) * extent[:, None] / size - 0.5
    centre = centre.clamp(min=0)
    low = centre.floor().long()
    high = torch.minimum(low + 1, extent[:, None] - 1)
    return start[:, None] + low, start[:, None] + high, centre - low


def _between(images: Tensor, dimension: int, low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    shape = [len(images), 1, 1, 1]
    shape[dimension] = low.shape[1]
    size = list(images.shape)
    first, second = (images.gather(dimension, index.view(shape).expand(size)) for index in (low, high))
    return torch.lerp(first, second, share.view(shape).to(images.dtype).expand(size))


def colour_jitter(
    images: Tensor,
    generator: torch.Generator,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.2,
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, in a random order; float (B,3,H,W) in [0,1].

    The first three by a factor uniform on 1 - x to 1 + x, the hue by a share of the circle uniform on -x to x, as
    torchvision's ColorJitter. Raises ``KdbenchError`` for a strength outside [0,1], or a hue outside [0,.5].
    """
    check_images(images, channels=3)
    strengths = brightness, contrast, saturation, hue
    if not all(0 <= value <= most for value, most in zip(strengths, (1, 1, 1, 0.5), strict=True)):
        raise KdbenchError(
            f"colour_jitter found (brightness, contrast, saturation, hue) = {strengths}, expected 0 to 1, hue to .5",
            "0 turns one off",
        )
    draws = 2 * uniform((4, len(images), 1, 1, 1), generator, images.device) - 1
    # The one wait for the device: which images an operation is run on is decided on the host.
    order = uniform((len(images), 4), generator, images.device).argsort(1).tolist()
    jittered = images.clone(memory_format=torch.contiguous_format)
    operations = (_brighter, _more_contrast, _more_colour, _other_hue)
    for step in range(4):
        for which, operation in enumerate(operations):
            members = [number for number, steps in enumerate(order) if steps[step] == which]
            if members and strengths[which]:
                index = torch.tensor(members, device=images.device)
                jittered[index] = operation(jittered[index], strengths[which] * draws[which][index])
    return jittered


def _grey(images: Tensor) -> Tensor:
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def _brighter(images: Tensor, change: Tensor) -> Tensor:
    return (images * (1 + change)).clamp(0, 1)


def _more_contrast(images: Tensor, change: Tensor) -> Tensor:
    return (images + change * (images - _grey(images).mean((1, 2, 3), keepdim=True))).clamp(0, 1)


def _more_colour(images: Tensor, change: Tensor) -> Tensor:
    return (images + change * (images - _grey(images))).clamp(0, 1)


def _other_hue(images: Tensor, change: Tensor) -> Tensor:
    """Turn the hue of HSV by a share of the circle; (n,3,H,W) and (n,1,1,1)."""
    value, lowest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = value - lowest
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    divisor = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # In sixths of the circle: a channel is at its highest within one of its colour and at its lowest beyond two.
    turned = hue + 6 * change
    distance = torch.tensor([5.0, 3.0, 1.0], dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    position = torch.remainder(turned + distance, 6)
    return value - chroma * torch.minimum(position, 4 - position).clamp(0, 1)
