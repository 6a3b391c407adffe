"""Standings over families, against numbers worked out by hand and an independent count."""

from __future__ import annotations

import dataclasses

import pytest

from kdbench.leaderboard.board import Axis, Row
from kdbench.leaderboard.placing import families, first_shares, standings
from tests.browser.boards import row
from tests.leaderboard.test_board import cell

AXES = tuple(
    Axis(key, key, "clean", key, "accuracy", {}, "fraction", True, family=family, counts=counts)
    for key, family, counts in (("n1", "natural", True), ("t", "natural", False), ("n2", "natural", True),
                                ("a", "adversarial", True))
)  # fmt: skip


def made(title: str, ranks: dict[str, tuple[int, int]], mean_rank: float | None = 0.0) -> Row:
    cells = {key: cell(*both) for key, both in ranks.items()}
    return dataclasses.replace(row(title, title, (), bare=True), cells=cells, mean_rank=mean_rank)


ROWS = [
    made("x", {"n1": (1, 1), "n2": (1, 1), "t": (3, 3), "a": (3, 3)}),
    made("y", {"n1": (2, 3), "n2": (2, 3), "t": (1, 1), "a": (1, 1)}),
    made("z", {"n1": (2, 3), "n2": (2, 3), "t": (2, 2), "a": (2, 2)}),
    made("none", {}, None),
]


def test_families_come_in_their_order_and_what_does_not_count_is_last() -> None:
    assert {name: [axis.key for axis in own] for name, own in families(AXES[::-1]).items()} == {
        "natural": ["n2", "n1", "t"],
        "adversarial": ["a"],
    }


def test_a_family_counts_once_and_places_are_what_the_ranks_leave_open() -> None:
    """Natural means 1, 2.5, 2.5; adversarial 3, 1, 2. Ranges: x 2 to 2, y 1.5 to 2, z 2 to 2.5."""
    found = standings(ROWS, AXES)
    assert [None if one is None else (one.mean, one.low, one.high) for one in found] == [
        (2.0, 2.0, 2.0), (1.75, 1.5, 2.0), (2.25, 2.0, 2.5), None,
    ]  # fmt: skip
    assert [one and (one.place, one.last_place) for one in found] == [(1, 3), (1, 3), (1, 3), None]


def test_weights_move_places() -> None:
    places = [one and one.places for one in standings(ROWS, AXES, {"natural": 0})]
    assert places == ["3", "1", "2", None]
    assert [one and one.mean for one in standings(ROWS, AXES, {"natural": 3, "adversarial": 1})] == [
        1.5,
        2.125,
        2.375,
        None,
    ]


def test_shares_of_weightings_are_those_of_the_simplex() -> None:
    """x is first where w + 3 (1 - w) < 2.5 w + (1 - w): natural weighs more than 4/7."""
    shares = first_shares(ROWS, AXES)
    assert shares == pytest.approx([3 / 7, 4 / 7, 0, 0], abs=0.015)
    assert shares == first_shares(ROWS, AXES)
    assert first_shares(ROWS[3:], AXES) == [0]
