"""Food-101: 101 dishes, whose training images were not cleaned and have some wrong labels; the test images were.

Source: Bossard et al. 2014, "Food-101 - Mining Discriminative Components with Random Forests". The SHA-256 is the one
that TensorFlow Datasets and torchvision's own prototype of its data sets pin for the file of that MD5.
"""

from __future__ import annotations

from pathlib import Path

from kdbench.data import download
from kdbench.data.base import DataPlace, Dataset, DatasetSpec, below, missing_data_error
from kdbench.data.photographs import Cut, Photograph, count_photographs, first_difference, load_photographs, read_lines
from kdbench.errors import KdbenchError

NAME, FOLDER, ARCHIVE = "food101", "food-101", "food-101.tar.gz"
URLS = ("https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",)
CHECKSUM = "sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"
SIZE = 224
TRAIN, TEST = Cut(SIZE, SIZE), Cut(256, SIZE)

DISHES = (
    "apple_pie baby_back_ribs baklava beef_carpaccio beef_tartare beet_salad beignets bibimbap bread_pudding "
    "breakfast_burrito bruschetta caesar_salad cannoli caprese_salad carrot_cake ceviche cheese_plate cheesecake "
    "chicken_curry chicken_quesadilla chicken_wings chocolate_cake chocolate_mousse churros clam_chowder "
    "club_sandwich crab_cakes creme_brulee croque_madame cup_cakes deviled_eggs donuts dumplings edamame "
    "eggs_benedict escargots falafel filet_mignon fish_and_chips foie_gras french_fries french_onion_soup "
    "french_toast fried_calamari fried_rice frozen_yogurt garlic_bread gnocchi greek_salad grilled_cheese_sandwich "
    "grilled_salmon guacamole gyoza hamburger hot_and_sour_soup hot_dog huevos_rancheros hummus ice_cream lasagna "
    "lobster_bisque lobster_roll_sandwich macaroni_and_cheese macarons miso_soup mussels nachos omelette "
    "onion_rings oysters pad_thai paella pancakes panna_cotta peking_duck pho pizza pork_chop poutine prime_rib "
    "pulled_pork_sandwich ramen ravioli red_velvet_cake risotto samosa sashimi scallops seaweed_salad "
    "shrimp_and_grits spaghetti_bolognese spaghetti_carbonara spring_rolls steak strawberry_shortcake sushi tacos "
    "takoyaki tiramisu tuna_tartare waffles"
)
CLASS_NAMES = tuple(DISHES.split())
"""Sorted, whatever the order of ``meta/classes.txt``."""
TRAIN_IMAGES, TEST_IMAGES = 750 * len(CLASS_NAMES), 250 * len(CLASS_NAMES)


def load(place: DataPlace, *, checksum: str = CHECKSUM) -> Dataset:
    """75,750 training and 25,250 test images, as ``meta/train.txt`` and ``meta/test.txt`` list them.

    From ``food-101/`` in the data folder or the downloads, else from ``food-101.tar.gz`` there, which is unpacked, else
    downloaded (5 GB) if ``place.download``.

    Raises:
        KdbenchError: the data are missing, incomplete or not Food-101's.
    """
    root = _find(place, FOLDER + "/meta/train.txt")
    if root is None and (place.download or _find(place, ARCHIVE) is not None):
        fetch(place, checksum=checksum)
        root = _find(place, FOLDER + "/meta/train.txt")
    if root is None:
        raise missing_data_error(NAME, place, [FOLDER, ARCHIVE], official=FOLDER, fetchable=True)
    folder = root / FOLDER
    train, test = _listing(folder)
    return Dataset(
        NAME,
        CLASS_NAMES,
        SIZE,
        load_photographs(f"{NAME}/train", folder, train, CLASS_NAMES, TRAIN, place),
        load_photographs(f"{NAME}/test", folder, test, CLASS_NAMES, TEST, place),
    )


def count(place: DataPlace, *, checksum: str = CHECKSUM) -> tuple[int | None, int]:
    """How many training and test images :func:`load` would read, those of the archive where it is not unpacked.

    Raises:
        KdbenchError: the data are missing, incomplete or not Food-101's.
    """
    root, packed = _find(place, FOLDER + "/meta/train.txt"), _find(place, ARCHIVE)
    if root is None and packed is not None:
        download.check(packed / ARCHIVE, checksum)
        return TRAIN_IMAGES, TEST_IMAGES
    if root is None:
        raise missing_data_error(NAME, place, [FOLDER, ARCHIVE], official=FOLDER, fetchable=True)
    folder = root / FOLDER
    train, test = _listing(folder)
    return count_photographs(f"{NAME}/train", folder, train), count_photographs(f"{NAME}/test", folder, test)


def _listing(folder: Path) -> tuple[list[Photograph], list[Photograph]]:
    """Training and test photographs as the lists in ``meta/`` say."""
    listed = sorted(read_lines(folder / "meta/classes.txt"))
    if tuple(listed) != CLASS_NAMES:
        difference = first_difference(listed, CLASS_NAMES)
        raise KdbenchError(
            f"'{folder / 'meta/classes.txt'}', sorted, is not Food-101's: {difference}", "unpack it again"
        )
    return _listed(folder / "meta/train.txt"), _listed(folder / "meta/test.txt")


def _listed(path: Path) -> list[Photograph]:
    photographs = []
    for line in read_lines(path):
        class_name, _, number = line.partition("/")
        if class_name not in CLASS_NAMES or not number:
            raise KdbenchError(f"'{path}' has the line {line!r}, expected <class>/<number>", "unpack the archive again")
        photographs.append(Photograph(f"images/{line}.jpg", CLASS_NAMES.index(class_name)))
    if not photographs:
        raise KdbenchError(f"'{path}' lists no image", "unpack the archive again")
    return photographs


def _find(place: DataPlace, path: str) -> Path | None:
    """The first of the place's folders that has the file."""
    return next((root for root in place.roots if (root / path).is_file()), None)


def fetch(place: DataPlace, *, checksum: str = CHECKSUM) -> Path:
    """Download the archive (5 GB) unless it is there, check and unpack it; returns its folder."""
    unpacked = _find(place, FOLDER + "/meta/train.txt")
    if unpacked is not None:
        return unpacked / FOLDER
    root = _find(place, ARCHIVE) or place.download_root
    packed = download.fetch(URLS, root / ARCHIVE, checksum=checksum, progress=place.progress)
    return download.extract(packed, root / FOLDER)


def spec() -> DatasetSpec:
    """The dataset "food101"."""
    return DatasetSpec(
        NAME,
        CLASS_NAMES,
        SIZE,
        load,
        fetch,
        available=lambda place: (
            _find(place, FOLDER + "/meta/train.txt") is not None or _find(place, ARCHIVE) is not None
        ),
        description="Food-101: 75,750 training images with some wrong labels, 25,250 test images, 224x224",
        train_images=TRAIN_IMAGES,
        test_images=TEST_IMAGES,
        count=count,
        source="Bossard et al. 2014, https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/; photographs of "
        f"foodspotting.com, whose terms hold; {ARCHIVE}, {download.in_words(CHECKSUM)}",
        layout=f"{FOLDER}/ as unpacked, or {ARCHIVE}",
        files=below(FOLDER, ARCHIVE),
    )
