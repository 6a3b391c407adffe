"""The frost photographs of Hendrycks & Dietterich 2019, read from files of the distribution ``imagecorruptions``."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor

from kdbench.corruptions._opencv import opencv
from kdbench.errors import KdbenchError

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The textures that CIFAR-C draws from; the script lists a sixth, but never draws it."""

_HINT = "`pip install --no-deps imagecorruptions==1.1.2` brings the textures"


def texture_paths() -> list[Path]:
    """Where the five texture files are; the package is only located, never imported.

    Raises:
        KdbenchError: the distribution or one of its files is missing.
    """
    try:
        installed = distribution("imagecorruptions")
    except PackageNotFoundError as error:
        raise KdbenchError(
            "frost needs the textures of the distribution 'imagecorruptions': not found", _HINT
        ) from error
    paths = [Path(str(installed.locate_file(f"imagecorruptions/frost/{name}"))) for name in FILES]
    for path in paths:
        if not path.is_file():
            raise KdbenchError(f"frost texture not found: {path}", _HINT)
    return paths


def check_installed() -> None:
    """Raise the KdbenchError that would come later: OpenCV can't be imported, or a frost texture is missing."""
    opencv()
    texture_paths()


@lru_cache(maxsize=2)
def load_textures(scale: float) -> tuple[Tensor, Tensor]:
    """The five textures at ``scale`` times their size (OpenCV's bilinear resize), RGB.

    Returns:
        float32 (5, 3, H, W) whole numbers 0 ... 255, each texture in the upper left corner and 0 around it; and
        int64 (5, 2), the height and width of each.
    """
    cv2 = opencv()
    textures = []
    for path in texture_paths():
        stored = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if stored is None:
            raise KdbenchError(f"frost texture can't be read as an image: {path}", _HINT)
        small = cv2.resize(stored, (0, 0), fx=scale, fy=scale)
        textures.append(torch.from_numpy(small[:, :, ::-1].copy()).permute(2, 0, 1))
    sizes = torch.tensor([texture.shape[1:] for texture in textures])
    height, width = sizes.amax(dim=0).tolist()
    together = torch.zeros(len(textures), 3, height, width)
    for slot, texture in zip(together, textures, strict=True):
        slot[:, : texture.shape[1], : texture.shape[2]] = texture
    return together, sizes
