from __future__ import annotations

import pytest

from kdbench.cli.listing import GAP, listing


def test_a_listing_is_plain_text() -> None:
    assert "[b]x[/b]" in listing([("[b]x[/b]", "y")], ("name", "what"))


@pytest.mark.parametrize("width", [7, 20, 40, 200])
def test_nothing_is_lost_where_a_line_is_wrapped(width: int) -> None:
    rows = [("one", "a sentence that is longer than a narrow terminal", "x"), ("two", "", "y" * 30)]
    lines = listing(rows, ("name", "what it is", "from"), width).splitlines()
    assert max(map(len, lines)) <= max(width, 3 + 2 * len(GAP))
    said = "".join("".join(lines).split())
    for row in rows:
        for cell in row:
            assert all(said.count(letter) >= cell.count(letter) for letter in set(cell) - {" "})


def test_a_listing_may_be_empty() -> None:
    assert listing([], ("name", "what"), 20).splitlines() == ["name  what", "----  ----"]
