from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from PIL import Image

from kdbench.corruptions.frost_textures import FILES
from tools import frost_textures


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs of the installed distribution, packed again as they came."""
    path = tmp_path_factory.mktemp("wheel") / "imagecorruptions-1.1.2-py3-none-any.whl"
    folder = Path(str(distribution("imagecorruptions").locate_file("imagecorruptions/frost")))
    with ZipFile(path, "w") as archive:
        for name in frost_textures.SOURCES:
            archive.write(folder / name, f"imagecorruptions/frost/{name}")
    return path


@pytest.mark.parametrize("scale", FILES)
def test_the_wheel_makes_the_files_again(wheel: Path, tmp_path: Path, scale: float) -> None:
    """The same pixels; how a PNG packs them depends on the library."""
    made = tmp_path / "frost.png"
    frost_textures.write(wheel, scale, made)
    assert np.array_equal(np.asarray(Image.open(made)), np.asarray(Image.open(FILES[scale])))


@pytest.mark.parametrize("scale", [0.2, 0.3, 0.45])
def test_shrinking_is_opencvs_to_the_last_bit(scale: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (101, 157, 3), dtype=np.uint8)
    assert np.array_equal(frost_textures.shrink(image, scale), cv2.resize(image, (0, 0), fx=scale, fy=scale))
