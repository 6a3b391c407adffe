"""Make the frost textures in kdbench/corruptions from the photographs in the wheel of imagecorruptions 1.1.2.

pip download --no-deps imagecorruptions==1.1.2 && python -m tools.frost_textures imagecorruptions-1.1.2-py3-none-any.whl

The photographs are those of the scripts that made CIFAR-C, which shrinks them to a fifth, and Tiny ImageNet-C, which
shrinks them to three tenths.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kdbench.corruptions.frost_textures import FILES, SIZES

SOURCES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def write(wheel: Path, scale: float, target: Path) -> None:
    """The five textures one below the other, each at the left edge with black beside it, as a PNG file."""
    sizes = SIZES[scale]
    sheet = np.zeros((sum(rows for rows, _ in sizes), max(columns for _, columns in sizes), 3), dtype=np.uint8)
    top = 0
    with ZipFile(wheel) as archive:
        for name, (rows, columns) in zip(SOURCES, sizes, strict=True):
            with archive.open(f"imagecorruptions/frost/{name}") as file, Image.open(file) as image:
                texture = shrink(np.asarray(image.convert("RGB")), scale)
            assert texture.shape == (rows, columns, 3), f"{name}: {texture.shape}"
            sheet[top : top + rows, :columns] = texture
            top += rows
    Image.fromarray(sheet).save(target, "PNG", optimize=True)


def shrink(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Bilinear interpolation (H, W, 3) to ``scale``, in the whole numbers that OpenCV calculates with.

    Weights have 11 bits; the rows' products lose 4 bits before the columns' weights and 16 after them.
    """
    left, right, near, far = _taps(image.shape[1], scale)
    pixels = image.astype(np.int64)
    across = pixels[:, left] * near[:, None] + pixels[:, right] * far[:, None]
    upper, lower, near, far = _taps(image.shape[0], scale)
    total = sum((across[rows] >> 4) * weights[:, None, None] >> 16 for rows, weights in ((upper, near), (lower, far)))
    return np.asarray((total + 2) >> 2, dtype=np.uint8)


def _taps(size: int, scale: float) -> tuple[NDArray[np.int64], ...]:
    """Of each new pixel along an axis: its two old ones, and the weight of each in 2048ths."""
    position = ((np.arange(round(size * scale)) + 0.5) / scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = position - first.astype(np.float32)
    weights = (np.rint(share * 2048).astype(np.int64) for share in (1 - part, part))
    return (first, np.minimum(first + 1, size - 1), *weights)


if __name__ == "__main__":
    for scale, file in FILES.items():
        write(Path(sys.argv[1]), scale, file)
