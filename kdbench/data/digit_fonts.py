"""Printed digits, the out-of-distribution set for classifiers trained on the handwritten ones.

Generated, not stored: rendered by Pillow from the text fonts that come with matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from kdbench.data.base import DataPlace, Dataset, DatasetSpec, make_image_set
from kdbench.data.digits import CLASS_NAMES, IMAGE_SIZE
from kdbench.errors import KdbenchError

NAME = "digits-fonts"
PER_CLASS = 100
SEED = 20_191_210

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "STIXGeneralItalic",
    "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
"""Named one by one: the other fonts in that folder draw symbols, boxes or nothing where digits should be."""

CANVAS = 160
FONT_SIZE = 100
# Chosen so that a small network trained on the handwritten digits gets about two thirds right: as hard as CINIC-10's
# ImageNet part is for networks trained on CIFAR-10.
MAX_ROTATION_DEGREES = 10.0
HEIGHTS = (27.0, 32.0)
"""Range of the longer side of the rotated digit, in pixels of the final image."""
MAX_SHIFT = 2
CONTRASTS = (0.6, 1.0)


def load(place: DataPlace) -> Dataset:
    """1,000 images, 100 a class: white on black, with random font, rotation, size, shift and contrast.

    The draws come from a fixed seed, so the same versions of Pillow and matplotlib give the same bits.

    Raises:
        KdbenchError: a font is not where matplotlib keeps its fonts.
    """
    fonts = [_open_font(name) for name in FONTS]
    random = np.random.Generator(np.random.PCG64(SEED))
    labels = np.repeat(np.arange(len(CLASS_NAMES)), PER_CLASS)
    grey = np.stack([_render(CLASS_NAMES[label], fonts[random.integers(len(fonts))], random) for label in labels])
    images = torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).contiguous()
    test = make_image_set(f"{NAME}/test", images, torch.from_numpy(labels.astype(np.int64)), CLASS_NAMES, "generated")
    return Dataset(NAME, CLASS_NAMES, IMAGE_SIZE, None, test)


def _folder() -> Path:
    import matplotlib  # here, because importing it is slow and only this dataset needs it

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _open_font(name: str) -> ImageFont.FreeTypeFont:
    path = _folder() / f"{name}.ttf"
    try:
        # The basic layout is always built in; the other one depends on what Pillow was linked with.
        return ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise KdbenchError(f"'{NAME}' needs the font '{path}', which can't be read", "reinstall matplotlib") from error


def _render(digit: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    angle = random.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES)
    height = random.uniform(*HEIGHTS)
    shift = random.integers(-MAX_SHIFT, MAX_SHIFT + 1, size=2)
    contrast = random.uniform(*CONTRASTS)
    canvas = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), digit, fill=255, font=font, anchor="mm")
    glyph = canvas.rotate(angle, Image.Resampling.BICUBIC)
    glyph = glyph.crop(glyph.getbbox())
    scale = height / max(glyph.size)
    width, height_px = (max(1, round(side * scale)) for side in glyph.size)
    glyph = glyph.resize((width, height_px), Image.Resampling.BOX)
    frame = Image.new("L", (IMAGE_SIZE, IMAGE_SIZE))
    # Shifted no further than the frame, so that no digit is cut and turns into another.
    left, top = (
        int(np.clip((IMAGE_SIZE - side) // 2 + move, 0, IMAGE_SIZE - side))
        for side, move in zip(glyph.size, shift, strict=True)
    )
    frame.paste(glyph, (left, top))
    return np.rint(np.asarray(frame) * contrast).astype(np.uint8)


def spec() -> DatasetSpec:
    """The dataset "digits-fonts"."""
    return DatasetSpec(
        NAME,
        CLASS_NAMES,
        IMAGE_SIZE,
        load,
        description="printed digits in 21 fonts, 32x32; out of distribution for 'digits'",
        ood=True,
        test_images=PER_CLASS * len(CLASS_NAMES),
        source="generated from a fixed seed, with the fonts that come with matplotlib (DejaVu, STIX, Computer Modern)",
        files=lambda place: [_folder()],
    )
