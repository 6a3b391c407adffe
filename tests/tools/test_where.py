"""docs/where.md leads to files that exist, in few steps, and knows every room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/where.md").read_text()
WALKS = {
    title: re.findall(r"^\d+\. `([^`]+)`", section, re.M)
    for title, _, section in (part.partition("\n") for part in TEXT.split("\n## ")[1:])
    if title != "The rooms"
}


def test_there_are_four_walks() -> None:
    assert list(WALKS) == ["A new task", "A new attack", "A new data set", "A bug in the ranking"]


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_has_at_most_four_files(title: str) -> None:
    assert 1 <= len(WALKS[title]) <= 4
    assert len(set(WALKS[title])) == len(WALKS[title])


def test_every_path_is_there() -> None:
    """A file that is to be written is named by its folder, which is there."""
    paths = [path for path in re.findall(r"`([\w./<>-]+)`", TEXT) if "/" in path or path.endswith((".md", ".py"))]
    assert len(paths) > 40
    for path in paths:
        place = ROOT / path if "/" in path or path.endswith(".md") else ROOT / "kdbench" / path
        assert (place.parent if "<name>" in path else place).exists(), path


def test_every_room_is_on_the_map() -> None:
    rooms = set(re.findall(r"^\| `([\w./]+)` \|", TEXT.partition("## The rooms")[2], re.M))
    ground = set(re.findall(r"`(\w+\.py)`", TEXT.partition("The rest of the root")[2]))
    folders = {f"kdbench/{path.parent.name}/" for path in (ROOT / "kdbench").glob("*/__init__.py")}
    files = {f"kdbench/{path.name}" for path in (ROOT / "kdbench").glob("[a-z]*.py")}
    assert folders <= rooms
    assert files == {room for room in rooms if room.endswith(".py")} | {f"kdbench/{name}" for name in ground}
