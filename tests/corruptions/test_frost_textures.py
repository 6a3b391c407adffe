"""What is read from the file, and what a damaged one says. That the textures are the published ones: test_parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.corruptions import frost_textures
from kdbench.errors import KdbenchError


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    frost_textures.load_textures.cache_clear()
    yield
    frost_textures.load_textures.cache_clear()


@pytest.mark.parametrize(("scale", "shape"), [(0.2, (5, 3, 120, 180)), (0.3, (5, 3, 180, 270))])
def test_there_is_nothing_beside_a_texture(scale: float, shape: tuple[int, ...]) -> None:
    textures, sizes = frost_textures.load_textures(scale)
    assert textures.shape == shape
    for texture, (rows, columns) in zip(textures, sizes.tolist(), strict=True):
        assert texture[:, :rows, :columns].mean() > 50
        assert not texture[:, rows:].any() and not texture[:, :, columns:].any()
        assert torch.equal(texture, texture.round())


@pytest.mark.parametrize("damage", ["missing", "cut", "another"])
def test_a_damaged_file_is_one_line(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "frost.png"
    if damage == "cut":
        copy.write_bytes(frost_textures.FILES[0.2].read_bytes()[:5000])
    if damage == "another":
        Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(copy)
    monkeypatch.setitem(frost_textures.FILES, 0.2, copy)
    with pytest.raises(KdbenchError, match="frost textures.*frost.png") as caught:
        frost_textures.load_textures(0.2)
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "install kdbench again"


@pytest.mark.parametrize("file", frost_textures.FILES.values(), ids=lambda file: file.name)
def test_whose_they_are_lies_beside_them(file: Path) -> None:
    notice = file.with_name(f"{file.name}.license").read_text()
    assert file.name in notice
    assert "Apache-2.0" in notice and "Hendrycks" in notice and "Changed:" in notice
