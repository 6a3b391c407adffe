"""The 19 corruptions once more, one image at a time in float64, with NumPy, SciPy, scikit-image, OpenCV and Pillow.

Written from the definition (Hendrycks & Dietterich 2019) without a look at ``kdbench.corruptions``: constants are typed
again, walks are walked pixel by pixel, and every filter is another library's. ``corrupt`` is also the reference that
benchmarks compare speeds with.

A random corruption is split in two: ``DRAW[name](rng, c, size)`` makes its random arrays, and
``APPLY[name](x, c, *arrays)`` computes with them, so that a test may put in the very numbers that the batched
implementation drew. ``x`` is float64 (S, S, 3) in [0, 1], S 32 or 64, and so is the result, not yet clipped.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import distribution
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color, filters, util

CONSTANTS: dict[str, list[Any]] = {
    "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot_noise": [500, 250, 100, 75, 50],
    "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "speckle_noise": [0.06, 0.1, 0.12, 0.16, 0.2],
    "gaussian_blur": [0.4, 0.6, 0.7, 0.8, 1],
    "glass_blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    "defocus_blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    "motion_blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
    "zoom_blur": [np.arange(1, stop, 0.01) for stop in (1.06, 1.11, 1.16, 1.21, 1.26)],
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ],
    "frost": [(1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
    "jpeg_compression": [80, 65, 58, 50, 40],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
    "elastic_transform": [(0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
}
"""Of CIFAR-C, for images of 32x32 pixels."""

CONSTANTS_64: dict[str, list[Any]] = {
    "gaussian_noise": [0.04, 0.08, 0.12, 0.15, 0.18],
    "shot_noise": [250, 100, 50, 30, 15],
    "impulse_noise": [0.01, 0.02, 0.05, 0.08, 0.14],
    "speckle_noise": [0.15, 0.2, 0.25, 0.3, 0.35],
    "gaussian_blur": [0.5, 0.75, 1, 1.25, 1.5],
    "glass_blur": [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    "defocus_blur": [(0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)],
    "motion_blur": [(10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)],
    "zoom_blur": CONSTANTS["zoom_blur"],
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ],
    "frost": [(1, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)],
    "fog": [(0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)],
    "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
    "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)],
    "jpeg_compression": [65, 58, 50, 40, 25],
    "pixelate": [0.9, 0.8, 0.7, 0.6, 0.5],
    "elastic_transform": [(0, 0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ],
}
"""Of Tiny ImageNet-C, for images of 64x64 pixels."""


def constants(name: str, severity: int, size: int = 32) -> Any:
    return {32: CONSTANTS, 64: CONSTANTS_64}[size][name][severity - 1]


def corrupt(image: np.ndarray, name: str, severity: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """uint8 (S, S, 3) in and out; ``rng`` is needed by the random corruptions."""
    c = constants(name, severity, len(image))
    arrays = DRAW[name](rng, c, len(image)) if name in DRAW else ()
    return to_bytes(APPLY[name](image / 255.0, c, *arrays))


def corrupt_all(images: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """uint8 (N, S, S, 3) in and out, one image after the other."""
    rng = np.random.default_rng(seed)
    return np.stack([corrupt(image, name, severity, rng) for image in images])


def before_truncation(image: np.ndarray, name: str, severity: int) -> np.ndarray:
    """float64 (S, S, 3), 0 ... 255: what a corruption without randomness computes, clipped but not yet truncated."""
    return np.clip(APPLY[name](image / 255.0, constants(name, severity, len(image))), 0, 1) * 255


def apply(image: np.ndarray, name: str, severity: int, *arrays: Any) -> np.ndarray:
    """As ``corrupt``, with given random numbers."""
    return to_bytes(APPLY[name](image / 255.0, constants(name, severity, len(image)), *arrays))


def to_bytes(x: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip(x, 0, 1) * 255)


def gaussian_noise(x, c, noise):
    return x + c * noise


def shot_noise(x, c, rng):
    return rng.poisson(x * c) / c


def impulse_noise(x, c, rng):
    return util.random_noise(x, mode="s&p", amount=c, rng=rng)


def speckle_noise(x, c, noise):
    return x + x * c * noise


def gaussian_blur(x, c):
    return filters.gaussian(x, sigma=c, channel_axis=-1)


def draw_glass(rng, c, size):
    return (rng.integers(-c[1], c[1], size=(c[2], size, size, 2)),)


def glass_blur(x, c, offsets):
    """``offsets``: (n, S, S, 2), dx and dy of each pass and pixel."""
    sigma, d, passes = c
    pixels = np.uint8(filters.gaussian(x, sigma=sigma, channel_axis=-1) * 255)
    for number in range(passes):
        for h in range(len(x) - d, d, -1):
            for w in range(len(x) - d, d, -1):
                dx, dy = offsets[number, h, w]
                # deliberately the exchange of views, which is none
                pixels[h, w], pixels[h + dy, w + dx] = pixels[h + dy, w + dx], pixels[h, w]
    return filters.gaussian(pixels / 255.0, sigma=sigma, channel_axis=-1)


def defocus_blur(x, c):
    radius, alias = c
    line = np.arange(-8, 9)
    columns, rows = np.meshgrid(line, line)
    disk = (columns**2 + rows**2 <= radius**2).astype(np.float64)
    kernel = cv2.GaussianBlur(disk / disk.sum(), ksize=(3, 3), sigmaX=alias)
    return np.stack([cv2.filter2D(x[:, :, channel], -1, kernel) for channel in range(3)], axis=-1)


def draw_motion(rng, c, size):
    return (rng.uniform(-45, 45),)


def motion_blur(x, c, degrees):
    pixels = np.uint8(np.round(x * 255)).astype(np.float64)
    return np.dstack([motion(pixels[:, :, channel], *c, degrees) for channel in range(3)]) / 255.0


def motion(pixels, radius, sigma, degrees):
    """(S, S), 0 ... 255: a weighted sum of shifted copies, truncated."""
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    angle = np.deg2rad(degrees)
    total = np.zeros_like(pixels)
    for i, weight in enumerate(weights / weights.sum()):
        across, down = np.ceil(i * np.cos(angle) - 0.5), np.ceil(i * np.sin(angle) - 0.5)
        # ndimage.shift moves the content, so content displaced by -(across, down) is read at +(across, down)
        total += weight * ndimage.shift(pixels, (-down, -across), order=0, mode="nearest")
    return np.floor(total + 1e-9)


def zoom_blur(x, c):
    return (x + sum(clipped_zoom(x, factor) for factor in c)) / (len(c) + 1)


def clipped_zoom(x, factor):
    size = len(x)
    crop = int(np.ceil(size / factor))
    top = (size - crop) // 2
    zooms = (factor, factor) + (1,) * (x.ndim - 2)
    zoomed = ndimage.zoom(x[top : top + crop, top : top + crop], zooms, order=1)
    trim = (zoomed.shape[0] - size) // 2
    return zoomed[trim : trim + size, trim : trim + size]


def draw_snow(rng, c, size):
    return rng.normal(c[0], c[1], size=(size, size)), rng.uniform(-135, -45)


def snow(x, c, layer, degrees):
    _, _, factor, threshold, radius, sigma, blend = c
    layer = clipped_zoom(layer, factor)
    layer[layer < threshold] = 0
    layer = motion(np.floor(np.clip(layer, 0, 1) * 255), radius, sigma, degrees)[..., None] / 255
    luma = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    return blend * x + (1 - blend) * np.maximum(x, luma * 1.5 + 0.5) + layer + np.rot90(layer, k=2)


def draw_frost(rng, c, size):
    which = int(rng.integers(5))
    height, width = frost_texture(which, c[2]).shape[:2]
    return which, int(rng.integers(0, height - size)), int(rng.integers(0, width - size))


@lru_cache
def frost_texture(which, scale=0.2):
    """RGB; 0 ... 4 are drawn, 5 is not."""
    kind = "png" if which < 3 else "jpg"
    path = distribution("imagecorruptions").locate_file(f"imagecorruptions/frost/frost{which + 1}.{kind}")
    return cv2.resize(cv2.imread(str(path)), (0, 0), fx=scale, fy=scale)[:, :, ::-1]


def frost(x, c, which, top, left):
    size = len(x)
    return c[0] * x + c[1] * frost_texture(which, c[2])[top : top + size, left : left + size] / 255


def draw_fog(rng, c, size):
    """One (3, k, k) array of U(-1, 1) a step, k = 1, 2, ... S / 2: for the centres, edges across, edges down."""
    return ([rng.uniform(-1, 1, size=(3, cells, cells)) for cells in (1, 2, 4, 8, 16, 32) if cells < size],)


def fog(x, c, noise):
    brightest = x.max()
    return (x + c[0] * plasma(c[1], noise, len(x))[..., None]) * brightest / (brightest + c[0])


def plasma(decay, noise, size):
    """Diamond-square, one point after the other."""
    heights = np.zeros((size, size))
    wibble, step = 100.0, size

    def mean(*points):
        return sum(heights[row % size, column % size] for row, column in points) / 4

    for centres, across, down in noise:
        half = step // 2
        cells = [(i, j, i * step, j * step) for i in range(size // step) for j in range(size // step)]
        for i, j, top, left in cells:
            corners = [(top, left), (top + step, left), (top, left + step), (top + step, left + step)]
            heights[top + half, left + half] = mean(*corners) + wibble * wibble * centres[i, j]
        for i, j, top, left in cells:
            ends, sides = [(top, left), (top, left + step)], [(top + half, left + half), (top - half, left + half)]
            heights[top, left + half] = mean(*ends, *sides) + wibble * wibble * across[i, j]
            ends, sides = [(top, left), (top + step, left)], [(top + half, left + half), (top + half, left - half)]
            heights[top + half, left] = mean(*ends, *sides) + wibble * wibble * down[i, j]
        step, wibble = half, wibble / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(x, c):
    hsv = color.rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + c, 0, 1)
    return color.hsv2rgb(hsv)


def contrast(x, c):
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * c + mean


def saturate(x, c):
    hsv = color.rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * c[0] + c[1], 0, 1)
    return color.hsv2rgb(hsv)


def jpeg_compression(x, c):
    buffer = io.BytesIO()
    _picture(x).save(buffer, "JPEG", quality=c)
    return np.asarray(Image.open(buffer)) / 255.0


def pixelate(x, c):
    small = int(len(x) * c)
    shrunk = _picture(x).resize((small, small), Image.Resampling.BOX)
    return np.asarray(shrunk.resize((len(x), len(x)), Image.Resampling.BOX)) / 255.0


def _picture(x):
    return Image.fromarray(np.uint8(np.round(x * 255)))


def draw_elastic(rng, c, size):
    return rng.uniform(-c[2], c[2], size=(3, 2)), rng.uniform(-1, 1, size=(2, size, size))


def elastic_transform(x, c, moves, noise):
    """``moves`` (3, 2): of the anchor points in x and y; ``noise`` (2, S, S): before smoothing, for x and y."""
    alpha, sigma, _ = c
    size = len(x)
    anchors = np.array({32: [[26, 26], [26, 6], [6, 6]], 64: [[53, 53], [53, 11], [11, 11]]}[size])
    matrix = cv2.getAffineTransform(np.float32(anchors), np.float32(anchors + moves))
    warped = cv2.warpAffine(x.astype(np.float32), matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    if alpha == 0:
        return warped
    dx, dy = (alpha * filters.gaussian(layer, sigma, mode="reflect", truncate=3) for layer in noise)
    rows, columns = np.mgrid[0:size, 0:size]
    lookup = [
        ndimage.map_coordinates(warped[:, :, channel], (rows + dy, columns + dx), order=1, mode="reflect")
        for channel in range(3)
    ]
    return np.stack(lookup, axis=-1)


def draw_spatter(rng, c, size):
    return (rng.normal(c[0], c[1], size=(size, size)),)


def spatter(x, c, layer):
    _, _, sigma, threshold, strength, mud = c
    liquid = filters.gaussian(layer, sigma=sigma)
    liquid[liquid < threshold] = 0
    if mud:
        cover = filters.gaussian((liquid > threshold).astype(np.float64), sigma=strength)
        cover[cover < 0.8] = 0
        return x * (1 - cover[..., None]) + np.array([63, 42, 20]) / 255 * cover[..., None]
    liquid = (liquid * 255).astype(np.int64).astype(np.uint8)
    relief = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    _, relief = cv2.threshold(relief, 20, 20, cv2.THRESH_TRUNC)
    relief = cv2.equalizeHist(cv2.blur(relief, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32))
    light = liquid * cv2.blur(relief, (3, 3)).astype(np.float64)
    return x + strength * (light / max(light.max(), 1))[..., None] * np.array([175, 238, 238]) / 255


def _draw_noise(rng, c, size):
    return (rng.normal(size=(size, size, 3)),)


def _hand_over(rng, c, size):
    return (rng,)


DRAW: dict[str, Callable[..., tuple[Any, ...]]] = {
    "gaussian_noise": _draw_noise,
    "shot_noise": _hand_over,
    "impulse_noise": _hand_over,
    "speckle_noise": _draw_noise,
    "glass_blur": draw_glass,
    "motion_blur": draw_motion,
    "snow": draw_snow,
    "frost": draw_frost,
    "fog": draw_fog,
    "elastic_transform": draw_elastic,
    "spatter": draw_spatter,
}

APPLY: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "glass_blur": glass_blur,
    "defocus_blur": defocus_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "saturate": saturate,
    "jpeg_compression": jpeg_compression,
    "pixelate": pixelate,
    "elastic_transform": elastic_transform,
    "spatter": spatter,
}
