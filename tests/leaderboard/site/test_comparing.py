"""The numbers of the comparison page."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest

from kdbench.leaderboard.board import Board, Pairs
from kdbench.leaderboard.site.comparing import comparison_data, paired_rows, pairs_data
from kdbench.leaderboard.site.pages import pages
from kdbench.leaderboard.site.table import table_data
from tests.browser import boards


def compared(board: Board) -> dict[str, Any]:
    return comparison_data(board, table_data(board), pairs_data(board))


def decoded(data: dict[str, Any], axis: int) -> list[tuple[float | None, float | None, bool, bool]]:
    """Half width, p-value, significant, paired of each pair, as the page's script reads them."""
    largest, text = data["pairs"][axis]
    bits = int.from_bytes(base64.b64decode(text), "little")
    found = []
    for place, p in enumerate(base64.b64decode(data["tests"][axis])):
        word = bits >> 12 * place & 4095
        half = None if word >> 2 == 1023 else largest * (word >> 2) / 1022
        found.append((half, None if p == 255 else 10 ** (-p / data["steps"]), bool(word & 2), bool(word & 1)))
    return found


def test_the_triangle_of_pairs_has_every_pair_once() -> None:
    board = boards.small().boards[0]
    data = compared(board)
    pairs, count = board.pairs["clean/clean"], len(board.rows)
    found = decoded(data, 0)
    places = [(i, j) for i in range(count) for j in range(i + 1, count)]
    assert len(found) == len(places)
    for (half, p, significant, paired), place in zip(found, places, strict=True):
        assert half == pytest.approx(pairs.half_width[place], abs=pairs.half_width.max() / 2_000)
        assert (p is None) == bool(np.isnan(pairs.p_value[place]))
        assert p is None or p == pytest.approx(max(pairs.p_value[place], 10 ** (-254 / data["steps"])), rel=0.02)
        assert (significant, paired) == (pairs.significant[place], pairs.paired[place])


def test_differences_are_those_of_the_values_of_the_rows() -> None:
    """So the page does without them."""
    for board in boards.small().boards:
        for axis, pairs in board.pairs.items():
            values = np.array([row.cells[axis].value if axis in row.cells else np.nan for row in board.rows])
            np.testing.assert_allclose(values[:, None] - values, pairs.value, atol=1e-9)


def test_a_triangle_by_hand() -> None:
    """Rows 0, 1, 2 in the order (0, 1), (0, 2), (1, 2); the second has no difference."""
    value = np.array([[0, 0.3, np.nan], [-0.3, 0, 2e-7], [np.nan, -2e-7, 0]])
    significant = np.array([[False, True, False], [True, False, False], [False, False, False]])
    board = boards.small().boards[0]
    pairs = {board.axes[0].key: Pairs(value, np.abs(value) / 3, np.abs(value) / 3, significant, ~np.isnan(value))}
    data = compared(dataclasses.replace(board, rows=board.rows[:3], axes=board.axes[:2], pairs=pairs))
    first, nothing, small = decoded(data, 0)
    assert first == (pytest.approx(0.1), pytest.approx(0.1, rel=0.02), True, True)
    assert nothing == (None, None, False, False)
    assert small == (0.0, pytest.approx(10 ** (-254 / data["steps"])), False, True)
    assert data["pairs"][1] is None


@pytest.mark.parametrize("count", [paired_rows(8), paired_rows(8) + 1, 1000, 2000])
def test_a_page_is_never_larger_than_300_kb(count: int) -> None:
    assert len(boards.AXES) == 8
    content = dict(itertools.islice(pages(boards.large(count)), 3))["cifar10-lite/compare.html"]
    assert len(content.encode()) < 300_000


def test_a_page_has_all_pairs_of_many_methods() -> None:
    board = boards.large(paired_rows(8))
    for name, content in itertools.islice(pages(board), 3):
        data = json.loads(content.split('id="data">')[1].split("</script>")[0])
        assert len(base64.b64decode(data["pairs"][7][1], validate=True)) == 3 * -(-122 * 121 // 4), name


def test_each_row_has_its_seeds_budget_and_parameters() -> None:
    board = boards.small().boards[0]
    facts = dict(zip([row.key for row in board.rows], compared(board)["facts"], strict=True))
    assert facts["kd"] == [[0, 1, 2], "standard", "temperature 8"]
    assert facts["half"] == [[0], "standard", ""]


def test_too_many_methods_have_no_pairs() -> None:
    most = paired_rows(len(boards.AXES))
    board = boards.large(most + 1).boards[0]
    assert compared(board)["pairs"] is None
    assert compared(dataclasses.replace(board, rows=board.rows[:most]))["pairs"] is not None
