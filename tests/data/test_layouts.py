"""How people have their images: each layout gives the right pixels and labels, or its sentence."""

from __future__ import annotations

import binascii
import contextlib
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import DataPlace, KdbenchWarning, from_class_folders
from kdbench.data.folders import count_class_folders
from kdbench.errors import KdbenchError

PETS = ("cat", "dog")
RANDOM = np.random.default_rng(7)
COLOURS = RANDOM.integers(0, 256, (32, 32, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(COLOURS[:4, :4]).resize((32, 32), Image.Resampling.BICUBIC))
GREY = COLOURS[:, :, 0]
ALPHA = COLOURS[:, :, 1]


@dataclass(frozen=True)
class Layout:
    """A change to ``pets/{train,test}/{cat,dog}/{0,1}.png``, and what comes of it."""

    change: Callable[[Path], object]
    """Gets the folder ``pets``, in which the test split has no ``cat/0.png`` yet."""
    pixels: np.ndarray | None = None
    """uint8 (32, 32, 3): what the first test image of a cat must be read as."""
    tolerance: int = 0
    """For JPEG, in levels."""
    refused: str = ""
    """The sentence, as a regular expression."""
    warning: str = ""
    counts: tuple[int, int] = (2, 2)
    """Test images of a cat and of a dog."""


def saved(image: Image.Image, name: str = "0.png", **options: object) -> Callable[[Path], object]:
    return lambda root: image.save(root / "test/cat" / name, **options)


def written(blob: bytes, name: str = "0.png") -> Callable[[Path], object]:
    return lambda root: (root / "test/cat" / name).write_bytes(blob)


def also(*paths: str) -> Callable[[Path], object]:
    """Files that are no images beside the whole set."""

    def change(root: Path) -> None:
        saved(Image.fromarray(COLOURS))(root)
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"no image")

    return change


def linked(path: str, target: str) -> Callable[[Path], object]:
    """A link in the place of a file or a folder; in the target "{}" is the folder of the set."""

    def change(root: Path) -> None:
        saved(Image.fromarray(COLOURS))(root)
        place = root / path
        if place.is_dir():
            place.rename(root.parent / "moved")
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(target.format(root.parent))

    return change


def moved(path: str, target: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        saved(Image.fromarray(COLOURS))(root)
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / path).rename(root / target)

    return change


def without(path: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        saved(Image.fromarray(COLOURS))(root)
        shutil.rmtree(root / path)

    return change


def emptied(path: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        without(path)(root)
        (root / path).mkdir()

    return change


def palette(transparent: bool) -> Image.Image:
    """256 colours by index: 255 - index, index, 7."""
    image = Image.fromarray(GREY)
    image = image.copy()
    image.putpalette([level for index in range(256) for level in (255 - index, index, 7)])
    if transparent:
        image.info["transparency"] = bytes(range(256))
    return image


def png(depth: int, colour: int, channels: int, side: int = 32) -> bytes:
    """A PNG whose channels have ``depth`` bits; its pixels are left out where it is larger than 32x32."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", binascii.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(range(32)) * (depth * channels // 8) for _ in range(32)) if side == 32 else b"\0"
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def bmp565() -> bytes:
    """A bitmap of 16 bits a pixel: five of red, six of green, five of blue, here 31, 0 and 31."""
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    rows = struct.pack("<H", 0xF81F) * 32 * 32
    header = struct.pack("<IiiHHIIiiII", 40, 32, 32, 1, 16, 3, len(rows), 0, 0, 0, 0) + masks
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def cut_short(root: Path) -> None:
    saved(Image.fromarray(COLOURS))(root)
    blob = (root / "test/cat/0.png").read_bytes()
    (root / "test/cat/0.png").write_bytes(blob[: len(blob) // 2])


def grey3(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=2)


FRAMES = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
BITS = np.where(GREY > 127, 255, 0).astype(np.uint8)

LAYOUTS = {
    "PNG": Layout(saved(Image.fromarray(COLOURS)), COLOURS),
    "JPEG": Layout(saved(Image.fromarray(SMOOTH), "0.JPEG", quality=95), SMOOTH, 24),
    "grey-scale JPEG": Layout(saved(Image.fromarray(SMOOTH[:, :, 0]), "0.jpg", quality=95), grey3(SMOOTH[:, :, 0]), 24),
    "CMYK JPEG": Layout(saved(Image.fromarray(SMOOTH).convert("CMYK"), "0.jpg", quality=95), SMOOTH, 24),
    "a JPEG that is called PNG": Layout(saved(Image.fromarray(SMOOTH), "0.png", format="JPEG", quality=95), SMOOTH, 24),
    "lossless WebP": Layout(saved(Image.fromarray(COLOURS), "0.webp", lossless=True), COLOURS),
    "BMP": Layout(saved(Image.fromarray(COLOURS), "0.bmp"), COLOURS),
    "TIFF": Layout(saved(Image.fromarray(COLOURS), "0.TIF"), COLOURS),
    "BMP of 16 bits a pixel": Layout(written(bmp565(), "0.bmp"), np.full((32, 32, 3), (255, 0, 255), np.uint8)),
    "grey-scale": Layout(saved(Image.fromarray(GREY)), grey3(GREY)),
    "black and white": Layout(saved(Image.fromarray(BITS).convert("1")), grey3(BITS)),
    "palette": Layout(saved(palette(False)), np.stack([255 - GREY, GREY, np.full_like(GREY, 7)], axis=2)),
    "palette with transparency": Layout(
        saved(palette(True)), np.stack([255 - GREY, GREY, np.full_like(GREY, 7)], axis=2)
    ),
    "RGBA": Layout(saved(Image.fromarray(np.dstack([COLOURS, ALPHA]))), COLOURS),
    "grey-scale with transparency": Layout(
        saved(Image.merge("LA", [*map(Image.fromarray, (GREY, ALPHA))])), grey3(GREY)
    ),
    "a GIF of two pictures": Layout(saved(FRAMES[0], "0.gif", save_all=True, append_images=FRAMES[1:]), grey3(GREY)),
    "16-bit grey-scale": Layout(
        written(png(16, 0, 1)), refused="1 of 4 .*cat/0.png': unreadable .mode I;16, not 8 bits"
    ),
    "16-bit colour": Layout(
        written(png(16, 2, 3)), refused=r"cat/0.png': unreadable \(mode RGB with 16 bits, not 8 bits"
    ),
    "16-bit RGBA": Layout(written(png(16, 6, 4)), refused="unreadable .mode RGBA with 16 bits, not 8 bits"),
    "floats": Layout(
        saved(Image.fromarray(GREY.astype(np.float32)), "0.tif"), refused="cat/0.tif': unreadable .mode F,"
    ),
    "another size": Layout(saved(Image.new("RGB", (40, 40))), refused="cat/0.png': size 40x40, expected 32x32"),
    "not square": Layout(saved(Image.new("RGB", (32, 31))), refused="size 32x31, expected 32x32"),
    "a bomb of pixels": Layout(written(png(8, 2, 3, 40_000)), refused="cat/0.png': unreadable .DecompressionBombError"),
    "cut short": Layout(cut_short, refused="1 of 4 images of 'pets/test' can't be read, the first is .*cat/0.png'"),
    "an empty file": Layout(written(b""), refused="can't be read, the first is .*cat/0.png'"),
    "text that is called PNG": Layout(written(b"<html>"), refused="cat/0.png': unreadable .UnidentifiedImageError"),
    ".DS_Store": Layout(also(".DS_Store", "test/.DS_Store", "test/cat/.DS_Store"), COLOURS),
    "AppleDouble files": Layout(also("test/cat/._0.png", "test/._cat"), COLOURS),
    "Thumbs.db and desktop.ini": Layout(
        also("test/cat/Thumbs.db", "test/dog/desktop.ini", "test/Desktop.ini"), COLOURS
    ),
    "__MACOSX": Layout(
        also("__MACOSX/test/cat/._0.png", "test/__MACOSX/cat/0.png", "test/cat/__MACOSX/0.png"), COLOURS
    ),
    "a notebook's checkpoints": Layout(also("test/cat/.ipynb_checkpoints/0-checkpoint.png"), COLOURS),
    "a list beside the images": Layout(
        also("test/cat/labels.csv", "test/readme.txt"), COLOURS, warning="readme.txt, cat/labels"
    ),
    "a folder in a class": Layout(
        moved("test/cat/1.png", "test/cat/more/1.png"), COLOURS, warning="cat/more", counts=(1, 2)
    ),
    "images without an ending": Layout(moved("test/cat/1.png", "test/cat/1"), COLOURS, warning="cat/1", counts=(1, 2)),
    "a link to an image": Layout(linked("test/cat/1.png", "{}/pets/test/cat/0.png"), COLOURS),
    "a link to a class": Layout(linked("test/cat", "{}/moved"), COLOURS),
    "a link to the set": Layout(lambda root: _whole_set_linked(root), COLOURS),
    "a dangling link": Layout(
        linked("test/cat/1.png", "{}/gone.png"),
        refused="holds links to nothing .1 in all., the first is .*cat/1.png' to .*gone.png",
    ),
    "a dangling class": Layout(linked("test/cat", "{}/gone"), refused="links to nothing .*first is .*test/cat' to"),
    "a class that is a link to itself": Layout(linked("test/cat", "cat"), refused="to nothing .*test/cat' to 'cat'"),
    "a link to itself": Layout(linked("test/cat/1.png", "1.png"), refused="links to nothing .*first is .*cat/1.png'"),
    "a class of another name": Layout(
        moved("test/cat", "test/cats"), refused="no class named 'cats'.*did you mean 'cat'"
    ),
    "a class in capitals": Layout(moved("test/cat", "test/Cat"), refused="no class named 'Cat'.*did you mean 'cat'"),
    "a number as a class": Layout(moved("test/cat", "test/0"), refused="no class named '0'.*known: cat, dog"),
    "a class that is missing": Layout(without("test/cat"), refused="test' lacks 1 of 2 classes: cat"),
    "a class without images": Layout(emptied("test/cat"), refused="no image in .*test/cat'"),
    "a split without classes": Layout(emptied("test"), refused="test' holds no class folder .expected cat, dog"),
    "val for test": Layout(moved("test", "val"), refused="no such folder: .*pets/test'"),
    "classes without splits": Layout(
        lambda root: (without("test")(root), shutil.rmtree(root / "train"), (root / "cat").mkdir()),
        refused="not found: looked in .*'.*pets' holds cat",
    ),
    "a folder too deep": Layout(
        lambda root: (root.rename(root.parent / "x"), root.mkdir(), (root.parent / "x").rename(root / "pets")),
        refused="not found: looked in .*'.*pets' holds pets",
    ),
}


def _whole_set_linked(root: Path) -> None:
    saved(Image.fromarray(COLOURS))(root)
    root.rename(root.parent / "elsewhere")
    root.symlink_to(root.parent / "elsewhere")


@pytest.fixture
def pets(place: DataPlace) -> Path:
    root = place.data_dir / "pets"
    for split in ("train", "test"):
        for label, name in enumerate(PETS):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32), (label, number, 9)).save(root / split / name / f"{number}.png")
    (root / "test/cat/0.png").unlink()
    return root


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_right_images_or_its_sentence(name: str, pets: Path, place: DataPlace) -> None:
    layout = LAYOUTS[name]
    layout.change(pets)
    if layout.refused:
        with pytest.raises(KdbenchError, match=layout.refused) as caught:
            from_class_folders(place, "pets", PETS)
        assert caught.value.hint and "\n" not in str(caught.value)
        return
    with pytest.warns(KdbenchWarning, match=layout.warning) if layout.warning else contextlib.nullcontext():
        test = from_class_folders(place, "pets", PETS).test
    assert test.class_counts == layout.counts
    assert layout.pixels is not None
    expected = torch.from_numpy(layout.pixels.copy()).permute(2, 0, 1)
    apart = (test.images.int() - expected.int()).abs().flatten(1).amax(1)
    assert int(apart.min()) <= layout.tolerance
    assert PETS[int(test.labels[int(apart.argmin())])] == "cat"


def test_the_set_itself_as_the_data_folder(pets: Path, place: DataPlace) -> None:
    with pytest.raises(KdbenchError, match="'.*pets' seems to be the set itself: name the folder that holds it"):
        from_class_folders(DataPlace(pets, place.cache_dir), "pets", PETS)


def test_a_count_is_of_the_same_layouts(pets: Path, place: DataPlace) -> None:
    also("test/cat/Thumbs.db", "__MACOSX/x")(pets)
    assert count_class_folders(place, "pets", PETS) == (4, 4)
    (pets / "test/dog/1.png").unlink()
    (pets / "test/dog/1.png").symlink_to("gone.png")
    with pytest.raises(KdbenchError, match="links to nothing .1 in all"):
        count_class_folders(place, "pets", PETS)
