"""The head of a suite's page: what it says was found, and how to cite it."""

from __future__ import annotations

import dataclasses

from kdbench.leaderboard.site.citing import bibtex
from kdbench.leaderboard.site.finding import finding
from kdbench.leaderboard.site.start import start_view
from tests.browser import boards


def test_the_finding_names_the_best_and_what_it_costs() -> None:
    board = boards.small().boards[0]
    axes = tuple(
        dataclasses.replace(axis, family="adversarial" if axis.task == "transfer" else "natural", counts=True)
        for axis in board.axes
    )
    found = finding(dataclasses.replace(board, axes=axes, reference="ce"))
    assert found.startswith("No method wins everywhere: ")
    assert "points of clean less than kd" in found and "kd is first on clean (8" in found


def test_a_method_is_called_best_where_a_test_tells_it_from_every_other() -> None:
    """ce is 2 points behind kd and not told apart, half has one seed and no test, nrd is told from both."""
    levels = {"kd": (0.83,), "ce": (0.81,), "nrd": (0.67,)}
    rows = [boards.row(name, name, one) for name, one in levels.items()]
    rows.append(boards.row("half", "half", (0.82,), seeds=1))
    assert "; no test tells 1 other from it)" in finding(boards.board(rows))
    assert finding(boards.board(rows)).startswith("kd is first on clean (8")
    told = finding(boards.board([row for row in rows if row.title != "ce"]))
    assert told.startswith("kd is best on clean (8") and "no test" not in told


def test_without_a_difference_that_a_test_shows_nothing_is_found() -> None:
    board = boards.board([boards.row("ce", "ce", boards.LEVELS["ce"])])
    assert finding(board) == "No test tells any two methods apart: nothing is found yet."


def test_one_method_that_is_best_everywhere_is_named() -> None:
    rows = [boards.row(name, name, levels) for name, levels in (("a", (0.9,)), ("b", (0.5,)))]
    assert finding(boards.board(rows)).startswith("a is best on clean (8")


def test_a_citation_has_no_character_that_tex_reads() -> None:
    text = bibtex(dataclasses.replace(boards.small().boards[0], suite="x}\\input{y}%"))
    assert "{kdbench leaderboard of x??input?y??, suite version 2}" in text
    assert text.count("{") == text.count("}") and "2026" in text


def test_rows_have_badges() -> None:
    board = boards.small().boards[0]
    standings = start_view(board)["standings"]
    found = {row.key: [text for _, text, _ in one[2]] for row, one in zip(board.rows, standings, strict=True)}
    assert found["half"] == ["one seed"]
    assert found["soft-randomization"][0] == "⚠ 1 flagged"
    assert "older source" in found["ce"]
