"""Small copies of the official layouts of photograph data sets, made with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from kdbench.data.food101 import CLASS_NAMES as DISHES
from kdbench.data.webvision import CLASS_NAMES as SYNSETS


def write_jpeg(path: Path, seed: int, size: tuple[int, int] = (90, 70), mode: str = "RGB") -> None:
    """A smooth random picture (width, height)."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).convert(mode).save(path, quality=90)


def write_webvision(root: Path) -> None:
    """Two training images of classes 0 and 49 each, one of class 3, one of class 50 (not ours); three for testing."""
    others = [f"n{number:08d}" for number in range(9_000_000, 9_000_010)]
    (root / "info").mkdir(parents=True)
    (root / "info/synsets.txt").write_text("".join(f"{synset} a name, another\n" for synset in (*SYNSETS, *others)))
    train = [("q0001/a.jpg", 0), ("q0001/b.jpg", 0), ("q0099/c.jpg", 49), ("q0099/d.jpg", 49), ("q0007/e.jpg", 3)]
    lines = [f"google/{path} {label}\n" for path, label in [*train, ("q0100/not-ours.jpg", 50)]]
    (root / "info/train_filelist_google.txt").write_text("".join(lines))
    for seed, (path, _) in enumerate(train):
        write_jpeg(root / "google" / path, seed)
    (root / "info/val_filelist.txt").write_text("val1.jpg 0\nval2.jpg 49\nval3.jpg 3\nval4.jpg 700\n")
    for number in (1, 2, 3):
        write_jpeg(root / f"val_images_256/val{number}.jpg", 10 + number, (300, 256))


def write_imagenet(root: Path) -> None:
    """One validation image of each of the 50 classes, and a class that is none of ours."""
    for seed, synset in enumerate((*SYNSETS, "n15075141")):
        write_jpeg(root / "imagenet/val" / synset / f"ILSVRC2012_val_{seed:08d}.JPEG", seed)


def write_food101(root: Path, per_class: tuple[int, int] = (1, 1)) -> Path:
    """The folder ``food-101`` with so many training and test images of each class."""
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/classes.txt").write_text("\n".join(reversed(DISHES)) + "\n")
    for split, count, start in (("train", per_class[0], 0), ("test", per_class[1], 500)):
        lines = [f"{dish}/{start + number}" for dish in DISHES for number in range(count)]
        (folder / f"meta/{split}.txt").write_text("\n".join(lines) + "\n")
        for seed, line in enumerate(lines):
            write_jpeg(folder / f"images/{line}.jpg", start + seed, (40, 30))
    return folder
