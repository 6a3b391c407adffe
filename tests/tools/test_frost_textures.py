from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from kdbench.corruptions.frost_textures import FILE
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


def test_the_wheel_makes_the_file_again(wheel: Path, tmp_path: Path) -> None:
    """The same pixels; how a PNG packs them depends on the library."""
    made = tmp_path / "frost.png"
    frost_textures.write(wheel, made)
    assert np.array_equal(np.asarray(Image.open(made)), np.asarray(Image.open(FILE)))
