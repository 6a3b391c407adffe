"""The numbers of the comparison page."""

from __future__ import annotations

import dataclasses

import numpy as np

from kdbench.leaderboard.board import Pairs
from kdbench.leaderboard.site.comparing import PAIRED, comparison_data
from tests.browser import boards


def test_the_triangle_of_pairs_has_every_pair_once() -> None:
    board = boards.small().boards[0]
    values, halves, p_values, significant, paired = comparison_data(board)["pairs"][0]
    count = len(board.rows)
    wanted = [board.pairs["clean/clean"].value[i, j] for i in range(count) for j in range(i + 1, count)]
    np.testing.assert_allclose(values, wanted, rtol=1e-4)
    assert len(halves) == len(p_values) == len(significant) == len(paired) == len(wanted)


def test_a_triangle_by_hand() -> None:
    """Rows 0, 1, 2 in the order (0, 1), (0, 2), (1, 2); NaN is null, numbers are rounded to what they are worth."""
    value = np.array([[0, 0.123456789, np.nan], [-0.123456789, 0, 2e-7], [np.nan, -2e-7, 0]])
    significant = np.array([[False, True, False], [True, False, False], [False, False, False]])
    paired = ~np.isnan(value)
    board = boards.small().boards[0]
    pairs = {board.axes[0].key: Pairs(value, np.abs(value) / 3, np.abs(value) * 2, significant, paired)}
    data = comparison_data(dataclasses.replace(board, rows=board.rows[:3], axes=board.axes[:2], pairs=pairs))
    assert data["pairs"] == [
        [[0.12346, None, 2e-07], [0.04115, None, 6.667e-08], [0.25, None, 4e-07], "100", "101"],
        None,
    ]


def test_each_row_has_its_seeds_budget_and_parameters() -> None:
    board = boards.small().boards[0]
    facts = dict(zip([row.key for row in board.rows], comparison_data(board)["facts"], strict=True))
    assert facts["kd"] == [[0, 1, 2], "standard", "temperature 8"]
    assert facts["half"] == [[0], "standard", ""]


def test_too_many_methods_have_no_pairs() -> None:
    board = boards.large(PAIRED + 1).boards[0]
    assert comparison_data(board)["pairs"] is None
    assert comparison_data(dataclasses.replace(board, rows=board.rows[:PAIRED]))["pairs"] is not None
