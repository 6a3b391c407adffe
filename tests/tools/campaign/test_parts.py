"""What travels comes in parts, and arrives whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.campaign.material import MB, some_files
from tools.campaign import parts


def test_files_travel_in_parts_of_limited_size(three_parts: Path, tmp_path: Path) -> None:
    archives = sorted(three_parts.iterdir())
    assert len(archives) > 1 and all(path.stat().st_size <= 5 * MB for path in archives)
    stock = parts.Stock(tmp_path / "stock")
    assert stock.take(three_parts) == [path.name for path in archives]
    for number in range(5):
        name = f"file-{number}"
        assert (tmp_path / "stock" / "ab"[number % 2] / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    assert stock.lacking(["a/", "b/"]) == []
    assert stock.take(three_parts) == []  # once


def test_a_part_that_has_still_to_come_is_named(three_parts: Path, tmp_path: Path) -> None:
    first, *later = sorted(three_parts.iterdir())
    for path in later:
        path.rename(tmp_path / path.name)
    stock = parts.Stock(tmp_path / "stock")
    stock.take(three_parts)
    assert stock.lacking(["a/file-0"]) == []
    assert stock.lacking(["a/", "b/"]) == list(range(2, len(later) + 2))
    first.unlink()
    for path in later:
        (tmp_path / path.name).rename(path)
    stock.take(three_parts)
    assert stock.lacking([""]) == []


def test_parts_of_two_packs_or_damaged_ones_are_refused(three_parts: Path, tmp_path: Path) -> None:
    stock = parts.Stock(tmp_path / "stock")
    stock.take(three_parts)
    parts.write_parts(some_files(tmp_path / "files", 9), tmp_path / "other", 5 * MB, {})
    with pytest.raises(parts.PartError, match="of another pack than the parts before"):
        stock.take(tmp_path / "other")
    archive = tmp_path / "other/part-1-of-1.tar"
    content = (tmp_path / "files/file-0").read_bytes()
    archive.write_bytes(archive.read_bytes().replace(content, b"x" * len(content)))
    with pytest.raises(parts.PartError, match="file-0 is damaged"):
        parts.Stock(tmp_path / "new").take(tmp_path / "other")
    archive.write_bytes(b"no archive")
    with pytest.raises(parts.PartError, match="damaged"):
        parts.Stock(tmp_path / "newer").take(tmp_path / "other")
    with pytest.raises(parts.PartError, match="give a larger --limit-mb"):
        parts.write_parts(some_files(tmp_path / "files", 5 * MB), tmp_path / "other", 5 * MB, {})
