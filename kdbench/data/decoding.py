"""Image files to pixels: what can be read is RGB of 8 bits a channel, and what can't is named."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from kdbench.errors import KdbenchError
from kdbench.progress import tracked

EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
UNREADABLE = (
    *(UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises for a file that is no image, or not a whole one."""
MOST_PIXELS = 64_000_000
"""Of a photograph, and of what it is resized to: a file of some kilobytes may say that it has thousands of millions."""
CHUNK = 250

T = TypeVar("T")
R = TypeVar("R")


def check_pixels(width: int, height: int) -> None:
    """Raise ``ValueError`` for an image that is too large to be decoded; it comes before a pixel is."""
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"it has {width}x{height} pixels, expected 1 to {MOST_PIXELS:,}")


class DepthError(ValueError):
    """An image of other than 8 bits a channel."""


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel as RGB: grey-scale gives three equal channels, transparency is dropped.

    Raises:
        DepthError: it has more bits, which Pillow would cut off for some formats without a word.
    """
    # (codec, box, offset, arguments), of which one is the mode in the file: "RGB;16B" has 16 bits a channel, and
    # "BGR;16" has them a pixel.
    in_file = str([tile[3] for tile in getattr(image, "tile", ())])
    if image.mode not in EIGHT_BIT_MODES or re.search(";16[BLNS]", in_file):
        mode = image.mode if image.mode not in EIGHT_BIT_MODES else f"{image.mode} with 16 bits"
        raise DepthError(f"mode {mode}, not 8 bits a channel")
    # Pillow warns of a palette with transparency unless it passes through RGBA; the colours are the same.
    transparent = image.mode in ("P", "PA") and "transparency" in image.info
    return (image.convert("RGBA") if transparent else image).convert("RGB")


def decode(
    paths: Sequence[Path], blobs: Sequence[bytes], image_size: int, *, name: str, progress: bool = False
) -> torch.Tensor:
    """Decode image files to RGB: :func:`to_rgb`. Of several images in a file the first one counts.

    Args:
        paths: where each came from, for the error messages.
        blobs: the files' bytes.
        image_size: the height and width that every image must have; nothing is resized.

    Returns:
        uint8 (N, 3, image_size, image_size), in the given order.

    Raises:
        KdbenchError: unreadable files or wrong sizes, naming the first and how many there are.
    """
    pixels = np.empty((len(blobs), image_size, image_size, 3), dtype=np.uint8)

    def one(index: int) -> str | None:
        try:
            with Image.open(io.BytesIO(blobs[index])) as image:
                if image.size != (image_size, image_size):
                    return f"size {image.width}x{image.height}"
                pixels[index] = np.asarray(to_rgb(image))
        except DepthError as error:
            return f"unreadable ({error})"
        except UNREADABLE as error:
            return f"unreadable ({type(error).__name__})"
        return None

    problems = in_threads(one, range(len(blobs)), f"decoding {name}", progress)
    bad = [(paths[index], problem) for index, problem in enumerate(problems) if problem]
    unreadable = [(path, problem) for path, problem in bad if problem.startswith("unreadable")]
    if unreadable:
        raise KdbenchError(
            f"{len(unreadable)} of {len(blobs)} images of '{name}' can't be read, the first is '{unreadable[0][0]}': "
            f"{unreadable[0][1]}",
            "copy or unpack the images again",
        )
    if bad:
        raise KdbenchError(
            f"{len(bad)} of {len(blobs)} images of '{name}' have the wrong size, the first is '{bad[0][0]}': "
            f"{bad[0][1]}, expected {image_size}x{image_size}",
            "kdbench resizes nothing; resize the images first",
        )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def in_threads(work: Callable[[T], R], items: Sequence[T], description: str, progress: bool) -> list[R]:
    """``[work(item) for item in items]`` by a thread pool, in chunks because one small image is too little work."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda chunk: [work(item) for item in chunk], chunks)
        shown = tracked(results, description, len(chunks), shown=progress)
        return [result for chunk in shown for result in chunk]
