"""Unpack strips of images into class folders: ``python -m tools.campaign.images STRIPS DATA``.

A strip is a lossless image of 32x32 RGB images one below the other, ``<set>/<split>.<class>.<part>.webp``; its images
become ``<set>/<split>/<class>/<number>.png``. A strip is unpacked once, on all cores. Needs Pillow.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

SIDE, LONGEST = 32, 500


def unpack(data: Path, strip: Path) -> int:
    """Write the images of one strip into class folders; how many. None where that was done before."""
    split, name, part = strip.stem.split(".")
    folder = data / strip.parent.name / split / name
    marker = data / ".unpacked" / strip.parent.name / strip.stem
    if marker.exists():
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(strip) as image:
        pixels = image.convert("RGB")
    count = pixels.height // SIDE
    for row in range(count):
        target = folder / f"{int(part) * LONGEST + row:05d}.png"
        pixels.crop((0, row * SIDE, SIDE, (row + 1) * SIDE)).save(target, format="PNG", compress_level=1)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return count


def main(strips: Path, data: Path) -> None:
    """Unpack all strips that lie in the folder."""
    found = sorted(strips.glob("*/*.webp"))
    with ProcessPoolExecutor() as pool:
        count = sum(pool.map(partial(unpack, data), found, chunksize=4))
    print(f"{count} images of {len(found)} strips unpacked into {data}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
