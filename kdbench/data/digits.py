"""scikit-learn's handwritten digits as 32x32 RGB images: the dataset that is always there.

Source: the test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI repository), 1,797
images of 8x8 pixels with values 0 to 16, as embedded in scikit-learn.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdbench.data.base import DataPlace, Dataset, DatasetSpec, make_image_set
from kdbench.data.subset import stratified_subset
from kdbench.errors import KdbenchError

CLASS_NAMES = tuple("0123456789")
IMAGE_SIZE = 32
TEST_SIZE = 500
SPLIT_SEED = 0


def load(place: DataPlace) -> Dataset:
    """1,297 training and 500 test images, a fixed stratified split (50 test images a class).

    Each 8x8 image is scaled by 255/16 and enlarged to 32x32 by Pillow's bicubic filter, then repeated to three
    channels. ``source_index`` counts in scikit-learn's order.
    """
    table = np.loadtxt(_folder() / "digits.csv.gz", delimiter=",")  # rows of 64 pixels and the class
    small = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    large = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in small])
    images = torch.from_numpy(large)[:, None].expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    in_test[stratified_subset(labels, TEST_SIZE, SPLIT_SEED)] = True
    splits = {}
    for name, member in (("train", ~in_test), ("test", in_test)):
        rows = member.nonzero().flatten()
        splits[name] = make_image_set(
            f"digits/{name}", images[rows], labels[rows], CLASS_NAMES, "embedded", source_rows=rows
        )
    return Dataset("digits", CLASS_NAMES, IMAGE_SIZE, splits["train"], splits["test"])


def files(place: DataPlace) -> list[Path]:
    """The folder in which scikit-learn keeps its data sets."""
    return [_folder()]


def _folder() -> Path:
    """The same, without importing scikit-learn: a second that each run would take."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise KdbenchError("data set 'digits' is a part of scikit-learn, which is not installed", "install it")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def spec() -> DatasetSpec:
    """The dataset "digits"."""
    return DatasetSpec(
        "digits",
        CLASS_NAMES,
        IMAGE_SIZE,
        load,
        description="scikit-learn's handwritten digits, 32x32; embedded, for trying things out",
        train_images=1297,
        test_images=TEST_SIZE,
        source="scikit-learn's load_digits, which comes with it: the test part of Alpaydin & Kaynak 1998, "
        "https://archive.ics.uci.edu/dataset/80, 8x8, enlarged",
        files=files,
    )
