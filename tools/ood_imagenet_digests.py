"""Write ``kdbench/data/ood_imagenet.npy`` again, which says what images the set "ood-imagenet" is of, from the set."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdbench.data import DataPlace, load_dataset
from kdbench.data.ood_imagenet import DIGESTS, digest, spec


def digests_of(place: DataPlace) -> npt.NDArray[np.uint64]:
    """uint64 (3500,), sorted: one digest of each image of the complete set in a data folder."""
    images = load_dataset(spec(), place).test.images
    return np.sort(np.array([digest(image.numpy()) for image in images], dtype=np.uint64))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="the folder that holds ood_imagenet/test/<class>/*.png")
    np.save(DIGESTS, digests_of(DataPlace.default(parser.parse_args().data_dir)))
