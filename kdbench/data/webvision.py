"""The first 50 classes of WebVision 1.0, labelled by a web search, and the same classes in ImageNet's validation set.

Source: Li et al. 2017, "WebVision Database: Visual Learning and Understanding from Web Data" (arXiv 1708.02862). The
choice of classes and of the Google half is that of Jiang et al. 2018 (MentorNet) and of everybody who compares on
"mini-WebVision". Both sets have to be asked for at their official places, so nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdbench.data.base import DataPlace, Dataset, DatasetSpec, missing_data_error
from kdbench.data.folders import image_suffixes, is_clutter
from kdbench.data.photographs import Cut, Photograph, count_photographs, first_difference, load_photographs, read_lines
from kdbench.errors import KdbenchError

SYNSETS = (
    "n01440764 n01443537 n01484850 n01491361 n01494475 n01496331 n01498041 n01514668 n01514859 n01518878 "
    "n01530575 n01531178 n01532829 n01534433 n01537544 n01558993 n01560419 n01580077 n01582220 n01592084 "
    "n01601694 n01608432 n01614925 n01616318 n01622779 n01629819 n01630670 n01631663 n01632458 n01632777 "
    "n01641577 n01644373 n01644900 n01664065 n01665541 n01667114 n01667778 n01669191 n01675722 n01677366 "
    "n01682714 n01685808 n01687978 n01688243 n01689811 n01692333 n01693334 n01694178 n01695060 n01697457"
)
CLASS_NAMES = tuple(SYNSETS.split())
"""ImageNet's synsets 0 to 49, tench to African crocodile: WebVision's labels are in the order of ImageNet's."""

FOLDERS = ("webvision", "WebVision", ".")
TRAIN_LIST, TEST_LIST, SYNSET_LIST = "info/train_filelist_google.txt", "info/val_filelist.txt", "info/synsets.txt"
TEST_FOLDER = "val_images_256"
IMAGENET_FOLDERS = ("imagenet/val", "ILSVRC2012/val", "imagenet/ILSVRC2012/val")


@dataclass(frozen=True)
class Size:
    """One of the two sizes in which papers use these images."""

    suffix: str
    test: Cut

    @property
    def train(self) -> Cut:
        """As much of a photograph as a square holds."""
        return Cut(self.test.size, self.test.size)


SIZES = (Size("", Cut(256, 224)), Size("-299", Cut(320, 299)))
"""224 for a ResNet-50 (Englesson & Azizpour 2021, Shon et al. 2024), 299 for an Inception-ResNet-v2."""


def load(place: DataPlace, size: Size) -> Dataset:
    """Google's photographs of the 50 classes with the labels of the search, and WebVision's own validation images.

    In ``webvision/`` or in the data folder itself, as unpacked: ``info/`` with its lists, ``google/``, and
    ``val_images_256/``.

    Raises:
        KdbenchError: the data are missing, incomplete or not those of WebVision 1.0.
    """
    name = f"webvision-mini{size.suffix}"
    root, train, test = _listing(name, place)
    return Dataset(
        name,
        CLASS_NAMES,
        size.test.size,
        load_photographs(f"{name}/train", root, train, CLASS_NAMES, size.train, place),
        load_photographs(f"{name}/test", root, test, CLASS_NAMES, size.test, place),
    )


def count(place: DataPlace, size: Size) -> tuple[int | None, int]:
    """How many training and test images :func:`load` would read; the errors are the same."""
    name = f"webvision-mini{size.suffix}"
    root, train, test = _listing(name, place)
    return count_photographs(f"{name}/train", root, train), count_photographs(f"{name}/test", root, test)


def _listing(name: str, place: DataPlace) -> tuple[Path, list[Photograph], list[Photograph]]:
    """The folder, and its training and test photographs as its lists say."""
    root = _find(place)
    if root is None:
        raise missing_data_error(
            name, place, [f"{folder}/{TRAIN_LIST}" for folder in FOLDERS[:2]], official="webvision/{info,google,"
            f"{TEST_FOLDER}}} (WebVision 1.0, resized images, from https://data.vision.ee.ethz.ch/cvl/webvision/)"
        )  # fmt: skip
    listed = [line.split()[0] for line in read_lines(root / SYNSET_LIST)]
    if tuple(listed[: len(CLASS_NAMES)]) != CLASS_NAMES:
        difference = first_difference(listed[: len(CLASS_NAMES)], CLASS_NAMES)
        raise KdbenchError(f"'{root / SYNSET_LIST}' is not WebVision 1.0's: {difference}", "unpack its info.tgz again")
    return root, _listed(root / TRAIN_LIST, ""), _listed(root / TEST_LIST, f"{TEST_FOLDER}/")


def _find(place: DataPlace) -> Path | None:
    candidates = (root / folder for root in place.roots for folder in FOLDERS)
    return next((folder for folder in candidates if (folder / TRAIN_LIST).is_file()), None)


def _listed(path: Path, before: str) -> list[Photograph]:
    """The photographs of the 50 classes in a list of ``<path> <label>`` lines."""
    photographs = []
    for line in read_lines(path):
        file, _, label = line.rpartition(" ")
        if not file or not label.isdecimal():
            raise KdbenchError(
                f"'{path}' has the line {line!r}, expected a path and a label", "unpack its info.tgz again"
            )
        if int(label) < len(CLASS_NAMES):
            photographs.append(Photograph(before + file.strip(), int(label)))
    if not photographs:
        raise KdbenchError(
            f"'{path}' lists no image of the first {len(CLASS_NAMES)} classes", "unpack its info.tgz again"
        )
    return photographs


def load_imagenet(place: DataPlace, size: Size) -> Dataset:
    """ImageNet's validation images (ILSVRC 2012) of the 50 classes, for testing what was trained on WebVision.

    In ``imagenet/val/<synset>/*.JPEG``, as torchvision and most scripts leave them; other synsets may be there.

    Raises:
        KdbenchError: the data are missing, or one of the 50 classes is.
    """
    name = f"imagenet-val-webvision50{size.suffix}"
    root, photographs = _imagenet_listing(name, place)
    return Dataset(
        name,
        CLASS_NAMES,
        size.test.size,
        None,
        load_photographs(name, root, photographs, CLASS_NAMES, size.test, place),
    )


def count_imagenet(place: DataPlace, size: Size) -> tuple[int | None, int]:
    """How many images :func:`load_imagenet` would read; the errors are the same."""
    name = f"imagenet-val-webvision50{size.suffix}"
    return None, count_photographs(name, *_imagenet_listing(name, place))


def _imagenet_listing(name: str, place: DataPlace) -> tuple[Path, list[Photograph]]:
    root = _find_imagenet(place)
    if root is None:
        raise missing_data_error(
            name, place, IMAGENET_FOLDERS[:1], official="imagenet/val/<synset>/*.JPEG (the validation images of "
            "ILSVRC 2012, for which one registers at https://image-net.org)"
        )  # fmt: skip
    return root, [
        Photograph(f"{synset}/{file}", label)
        for label, synset in enumerate(CLASS_NAMES)
        for file in _images(root / synset)
    ]


def _find_imagenet(place: DataPlace) -> Path | None:
    candidates = (root / folder for root in place.roots for folder in IMAGENET_FOLDERS)
    return next((folder for folder in candidates if any((folder / synset).is_dir() for synset in CLASS_NAMES)), None)


def _images(folder: Path) -> Sequence[str]:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not is_clutter(entry.name))
        found = [name for name in names if name.lower().endswith(image_suffixes())]
    except OSError:
        found = []
    if not found:
        raise KdbenchError(f"no image in '{folder}'", "every one of the 50 synsets must be there")
    return found


def specs() -> list[DatasetSpec]:
    """The datasets "webvision-mini" and "imagenet-val-webvision50", each also with "-299"."""
    found = []
    for size in SIZES:
        pixels = f"{size.test.size}x{size.test.size}"
        found += [
            DatasetSpec(
                f"webvision-mini{size.suffix}",
                CLASS_NAMES,
                size.test.size,
                load=partial(load, size=size),
                available=lambda place: _find(place) is not None,
                description=f"WebVision 1.0: Google's images of 50 classes, labels from a web search, {pixels}",
                train_images=65_944,
                test_images=50 * len(CLASS_NAMES),
                count=partial(count, size=size),
                source="Li et al. 2017 (arXiv 1708.02862), https://data.vision.ee.ethz.ch/cvl/webvision/: version 1.0, "
                "resized images, to be asked for there; classes as Jiang et al. 2018 (MentorNet) chose them",
                layout=f"webvision/{{info,google,{TEST_FOLDER}}}",
            ),
            DatasetSpec(
                f"imagenet-val-webvision50{size.suffix}",
                CLASS_NAMES,
                size.test.size,
                load=partial(load_imagenet, size=size),
                available=lambda place: _find_imagenet(place) is not None,
                description=f"ImageNet's validation images of WebVision's first 50 classes, {pixels}",
                ood=True,
                test_images=50 * len(CLASS_NAMES),
                count=partial(count_imagenet, size=size),
                source="Russakovsky et al. 2015: the validation images of ILSVRC 2012, for which one registers at "
                "https://image-net.org/download; research and teaching",
                layout=f"{IMAGENET_FOLDERS[0]}/<synset>/*.JPEG",
            ),
        ]
    return found
