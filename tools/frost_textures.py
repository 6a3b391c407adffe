"""Make kdbench/corruptions/frost.png from the photographs in the wheel of imagecorruptions 1.1.2.

pip download --no-deps imagecorruptions==1.1.2 && python -m tools.frost_textures imagecorruptions-1.1.2-py3-none-any.whl

The photographs are those of the script that made CIFAR-C. It shrinks them to a fifth by bilinear interpolation, which
lands on every fifth pixel, the third first: no arithmetic is left to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from kdbench.corruptions.frost_textures import FILE, SIZES

SOURCES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
_FIRST, _STEP = 2, 5


def write(wheel: Path, target: Path) -> None:
    """The five textures one below the other, each at the left edge with black beside it, as a PNG file."""
    sheet = np.zeros((sum(rows for rows, _ in SIZES), max(columns for _, columns in SIZES), 3), dtype=np.uint8)
    top = 0
    with ZipFile(wheel) as archive:
        for name, (rows, columns) in zip(SOURCES, SIZES, strict=True):
            with archive.open(f"imagecorruptions/frost/{name}") as file, Image.open(file) as image:
                texture = np.asarray(image.convert("RGB"))[_FIRST::_STEP, _FIRST::_STEP]
            assert texture.shape == (rows, columns, 3), f"{name}: {texture.shape}"
            sheet[top : top + rows, :columns] = texture
            top += rows
    Image.fromarray(sheet).save(target, "PNG", optimize=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]), FILE)
