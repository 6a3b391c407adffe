"""The frost photographs of Hendrycks & Dietterich 2019, at the fifth of their size at which they are laid over images.

They stand one below the other in ``frost.png``. Whose they are, ``frost.png.license`` says; ``tools/frost_textures.py``
makes the file again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdbench.errors import KdbenchError

SIZES = ((120, 180), (63, 112), (63, 112), (70, 105), (99, 132))
"""Height and width of the textures that CIFAR-C draws from; its script lists a sixth, but never draws it."""

FILE = Path(__file__).with_name("frost.png")


@lru_cache(maxsize=1)
def load_textures() -> tuple[Tensor, Tensor]:
    """The five textures, RGB.

    Returns:
        float32 (5, 3, H, W) whole numbers 0 ... 255, each texture in the upper left corner and 0 around it; and
        int64 (5, 2), the height and width of each.

    Raises:
        KdbenchError: the file is missing or is not the one that was installed.
    """
    sizes = torch.tensor(SIZES)
    height, width = sizes.amax(dim=0).tolist()
    together = torch.zeros(len(SIZES), 3, height, width)
    top = 0
    stored = _read()
    for slot, (rows, columns) in zip(together, SIZES, strict=True):
        slot[:, :rows, :columns] = torch.from_numpy(stored[top : top + rows, :columns].copy()).permute(2, 0, 1)
        top += rows
    return together, sizes


def _read() -> np.ndarray:
    """The file's pixels, uint8 (sum of heights, largest width, 3)."""
    expected = (sum(rows for rows, _ in SIZES), max(columns for _, columns in SIZES), 3)
    try:
        with Image.open(FILE) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError) as error:  # Pillow calls a damaged chunk a syntax error
        raise KdbenchError(f"frost textures can't be read: {FILE}: {error}", "install kdbench again") from error
    if pixels.shape != expected:
        raise KdbenchError(
            f"frost textures of shape {pixels.shape}, expected {expected}: {FILE}", "install kdbench again"
        )
    return pixels
