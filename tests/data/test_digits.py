from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import DataPlace, Dataset, builtin_specs, digit_fonts, digits, load_dataset
from kdbench.errors import KdbenchError

SPECS = {spec.name: spec for spec in builtin_specs() if spec.name.startswith("digits")}
NOWHERE = DataPlace.default("/nonexistent", cache_dir="/nonexistent/cache")


@pytest.fixture(scope="module")
def handwritten() -> Dataset:
    return load_dataset(SPECS["digits"], NOWHERE)


@pytest.fixture(scope="module")
def printed() -> Dataset:
    return load_dataset(SPECS["digits-fonts"], NOWHERE)


def test_digits_split(handwritten: Dataset) -> None:
    assert SPECS["digits"].may_be_there(NOWHERE)
    assert (len(handwritten.train), len(handwritten.test)) == (1297, 500)
    assert handwritten.test.class_counts == (50,) * 10
    rows = torch.cat([handwritten.train.source_index, handwritten.test.source_index])
    assert rows.sort().values.tolist() == list(range(1797))


def test_digits_are_the_real_pixels(handwritten: Dataset) -> None:
    """Every image is the embedded 8x8 one, enlarged; torch's own bicubic filter says the same up to rounding."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    for split in (handwritten.train, handwritten.test):
        small = raw.images[split.source_index.numpy()] * (255 / 16)
        assert np.array_equal(raw.target[split.source_index.numpy()], split.labels.numpy())
        assert torch.equal(split.images[:, 0], split.images[:, 2])
        enlarged = torch.from_numpy(small).round()[:, None]
        for size in ((8, 32), (32, 32)):  # Pillow rounds and clips after each direction
            enlarged = torch.nn.functional.interpolate(enlarged, size=size, mode="bicubic", antialias=True)
            enlarged = enlarged.clamp(0, 255).round()
        assert (enlarged - split.images[:, :1]).abs().max() <= 2  # the order of the two directions differs


def test_digits_are_the_same_each_time(handwritten: Dataset) -> None:
    torch.manual_seed(5)
    assert digits.load(NOWHERE).sha256 == handwritten.sha256


def test_fonts_are_the_same_each_time(printed: Dataset) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    assert digit_fonts.load(NOWHERE).sha256 == printed.sha256


def test_fonts_shape_and_statistics(printed: Dataset) -> None:
    test = printed.test
    assert printed.train is None
    assert test.source == "generated"
    assert test.images.shape == (1000, 3, 32, 32)
    assert test.class_counts == (100,) * 10
    grey = test.images[:, 0].numpy()
    assert (test.images[:, 1].numpy() == grey).all()
    assert (grey < 20).mean() > 0.6, "the ground is black"
    ink = (grey > 40).mean((1, 2))
    assert (ink > 0.02).all(), "an image is empty"
    assert (ink < 0.6).all(), "an image is not a digit on black"
    brightest = grey.max((1, 2))
    assert brightest.min() >= 0.6 * 255 * 0.75
    assert brightest.min() < 170 < 240 < brightest.max(), "contrast varies"
    assert len(np.unique(grey.reshape(1000, -1), axis=0)) == 1000


def test_fonts_show_the_digit_of_their_label(printed: Dataset) -> None:
    """The nearest neighbour in one half of the images knows most of the other half."""
    test = printed.test
    flat = test.images[:, 0].flatten(1).double()
    flat = flat / flat.norm(dim=1, keepdim=True)
    even = torch.arange(1000) % 2 == 0
    nearest = (flat[~even] @ flat[even].T).argmax(1)
    assert (test.labels[even][nearest] == test.labels[~even]).double().mean() > 0.8


def test_every_font_draws_ten_different_digits() -> None:
    from PIL import ImageDraw

    for name in digit_fonts.FONTS:
        font = digit_fonts._open_font(name)
        drawn = set()
        for digit in "0123456789":
            canvas = Image.new("L", (160, 160))
            ImageDraw.Draw(canvas).text((80, 80), digit, fill=255, font=font, anchor="mm")
            assert canvas.getbbox() is not None, f"{name} draws nothing for {digit}"
            drawn.add(canvas.tobytes())
        assert len(drawn) == 10, name


def test_a_missing_font_is_named() -> None:
    with pytest.raises(KdbenchError, match=r"needs the font .*NoSuchFont\.ttf"):
        digit_fonts._open_font("NoSuchFont")
