from __future__ import annotations

import numpy as np
import pytest

from kdbench.leaderboard.board import Cell, Pairs
from kdbench.results.comparison import from_intervals


def cell(rank: int, last_rank: int, *flags: str) -> Cell:
    return Cell(
        value=0.5, ci_low=0.4, ci_high=0.6, basis="score", n=100, per_seed=(), contradicted=False, flags=flags,
        sample=from_intervals(0.5, 0.4, 0.6, n=100), rank=rank, last_rank=last_rank,
    )  # fmt: skip


def test_ranks_are_one_number_or_its_first_and_last() -> None:
    assert cell(2, 2).ranks == "2"
    assert cell(1, 10).ranks == "1–10"  # noqa: RUF001  # the page has a dash between numbers


@pytest.mark.parametrize(("rank", "last_rank", "midrank"), [(1, 1, 1), (1, 2, 1.5), (3, 7, 5), (2, 5, 3.5)])
def test_the_midrank_is_halfway(rank: int, last_rank: int, midrank: float) -> None:
    assert cell(rank, last_rank).midrank == midrank


def test_pairs_in_another_order_are_the_same_pairs() -> None:
    value = np.arange(9.0).reshape(3, 3)
    pairs = Pairs(value, value + 10, value / 100, value > 4, value < 2).in_order([2, 0, 1])
    assert pairs.value.tolist() == [[8, 6, 7], [2, 0, 1], [5, 3, 4]]
    np.testing.assert_array_equal(pairs.half_width, pairs.value + 10)
    np.testing.assert_array_equal(pairs.p_value, pairs.value / 100)
    np.testing.assert_array_equal(pairs.significant, pairs.value > 4)
    np.testing.assert_array_equal(pairs.paired, pairs.value < 2)
