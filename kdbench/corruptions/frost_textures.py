"""The frost photographs of Hendrycks & Dietterich 2019, at the scales at which they are laid over images.

Each scale has a file, in which they lie one below the other; the ``.license`` beside it says whose they are, and
``tools/frost_textures.py`` makes the files again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdbench.errors import KdbenchError

SIZES = {
    0.2: ((120, 180), (63, 112), (63, 112), (70, 105), (99, 132)),
    0.3: ((180, 270), (94, 168), (94, 168), (105, 158), (148, 198)),
}
"""Scale to height and width of the textures that the scripts draw from; they list a sixth, but never draw it."""

FILES = {0.2: Path(__file__).with_name("frost.png"), 0.3: Path(__file__).with_name("frost_64.png")}


@lru_cache(maxsize=2)
def load_textures(scale: float) -> tuple[Tensor, Tensor]:
    """The five textures, RGB.

    Args:
        scale: of the photographs, one of those in ``SIZES``.

    Returns:
        float32 (5, 3, H, W) whole numbers 0 ... 255, each texture in the upper left corner and 0 around it; and
        int64 (5, 2), the height and width of each.

    Raises:
        KdbenchError: the file is missing or is not the one that was installed.
    """
    sizes = torch.tensor(SIZES[scale])
    height, width = sizes.amax(dim=0).tolist()
    together = torch.zeros(len(sizes), 3, height, width)
    top = 0
    stored = _read(scale)
    for slot, (rows, columns) in zip(together, SIZES[scale], strict=True):
        slot[:, :rows, :columns] = torch.from_numpy(stored[top : top + rows, :columns].copy()).permute(2, 0, 1)
        top += rows
    return together, sizes


def _read(scale: float) -> np.ndarray:
    """The file's pixels, uint8 (sum of heights, largest width, 3)."""
    file, sizes = FILES[scale], SIZES[scale]
    expected = (sum(rows for rows, _ in sizes), max(columns for _, columns in sizes), 3)
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError) as error:  # Pillow calls a damaged chunk a syntax error
        raise KdbenchError(f"frost textures can't be read: {file}: {error}", "install kdbench again") from error
    if pixels.shape != expected:
        raise KdbenchError(
            f"frost textures of shape {pixels.shape}, expected {expected}: {file}", "install kdbench again"
        )
    return pixels
