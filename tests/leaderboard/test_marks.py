"""Which cells of a column are marked, from differences that are written down here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kdbench.leaderboard.board import Axis, Measurement, Pairs
from kdbench.leaderboard.marks import marks
from kdbench.leaderboard.ranks import rank_axis
from kdbench.results.comparison import from_intervals, shares

ACCURACY = Axis("clean/x", "x", "clean", "x", "accuracy", {}, "fraction", True)
ECE = dataclasses.replace(ACCURACY, metric="ece", higher_is_better=False)
NATS = dataclasses.replace(ACCURACY, unit="nats")


def measured(value: float, *flags: str, seeds: int = 3) -> Measurement:
    low, high = value - 0.01, value + 0.01
    return Measurement(
        value=value, ci_low=low, ci_high=high, basis="score", n=1000, per_seed=(), contradicted=False, flags=flags,
        sample=from_intervals([value] * seeds, [low] * seeds, [high] * seeds, n=1000),
    )  # fmt: skip


def pairs(methods: list[Measurement | None], half: dict[int, float], apart: list[int]) -> Pairs:
    """Half widths and significance of each method's difference from the first one; among the others nothing is."""
    values = np.array([np.nan if one is None else one.value for one in methods])
    width, known = np.full((len(values), len(values)), 0.2), np.zeros((len(values), len(values)), dtype=bool)
    for place, size in half.items():
        width[0, place] = width[place, 0] = size
    known[0, apart] = known[apart, 0] = True
    return Pairs(values[:, None] - values, width, np.full(width.shape, 0.5), known, ~np.isnan(width))


def test_the_best_what_is_surely_near_it_and_what_is_not_known() -> None:
    """gce's 78.5 against kd's 83.1 with an interval of several points is no match for ce's 81.9 with one of .3."""
    methods = [measured(value) for value in (0.831, 0.829, 0.825, 0.785, 0.80)]
    # Upper bounds of what each is behind: .2 + .7 = .9 points; .6 + .5 = 1.1; 4.6 + 5; 3.1 + .4.
    found = pairs([*methods], {1: 0.007, 2: 0.005, 3: 0.05, 4: 0.004}, apart=[2, 4])
    assert marks(ACCURACY, methods, found) == ["best", "near", "", "unknown", ""]


def test_what_is_significantly_worse_can_be_near() -> None:
    methods = [measured(0.831), measured(0.827), measured(0.5)]
    assert marks(ACCURACY, methods, pairs([*methods], {1: 0.003, 2: 0.01}, apart=[1, 2])) == ["best", "near", ""]


def test_where_lower_is_better_the_lowest_is_the_best() -> None:
    methods = [measured(0.012), measured(0.017), measured(0.30)]
    assert marks(ECE, methods, pairs([*methods], {1: 0.004, 2: 0.02}, apart=[2])) == ["best", "near", ""]
    assert marks(ACCURACY, methods, pairs([*methods], {1: 0.004, 2: 0.02}, apart=[2])) == ["", "unknown", "best"]


def test_flagged_and_missing_scores_have_no_mark_and_do_not_hide_the_best() -> None:
    methods = [measured(0.8), None, measured(0.99, "Doubtful."), measured(0.5)]
    assert marks(ACCURACY, methods, pairs(methods, {3: 0.02}, apart=[3])) == ["best", "", "", ""]


def test_one_seed_is_never_the_best_nor_near_it() -> None:
    """Its interval is over images alone."""
    methods = [measured(0.80), measured(0.85, seeds=1), measured(0.799, seeds=1), measured(0.5)]
    found = pairs([*methods], {1: 0.001, 2: 0.001, 3: 0.02}, apart=[3])
    assert marks(ACCURACY, methods, found) == ["best", "unknown", "unknown", ""]


def test_equal_means_are_both_the_best() -> None:
    methods = [measured(0.8), measured(0.8), measured(0.5)]
    assert marks(ACCURACY, methods, pairs([*methods], {1: 0.3, 2: 0.02}, apart=[2])) == ["best", "best", ""]


def test_where_no_two_methods_differ_nothing_is_marked() -> None:
    methods = [measured(0.8), measured(0.79), measured(0.9, "Doubtful.")]
    assert marks(ACCURACY, methods, pairs([*methods], {}, apart=[2])) == ["", "", ""]
    assert marks(ACCURACY, [None], pairs([None], {}, apart=[])) == [""]


def test_other_units_have_no_point_to_be_within() -> None:
    methods = [measured(0.8), measured(0.799), measured(0.5)]
    assert marks(NATS, methods, pairs([*methods], {1: 0.001, 2: 0.02}, apart=[2])) == ["best", "unknown", ""]


@pytest.mark.parametrize(("lost", "mark"), [(15, "near"), (150, "")])
def test_the_bound_is_that_of_the_paired_difference(lost: int, mark: str) -> None:
    """By hand: 15 of 5,000 images are .3 points, and with 1.96 sqrt(.003 / 5,000) at most .45; 150 are 3 points."""
    n = 5000
    best, third = np.arange(n) < 4000, np.arange(n) < 1500
    second = best & (np.arange(n) >= lost)
    several = [shares(np.tile(right, (3, 1))) for right in (best, second, third)]
    ranked = rank_axis(ACCURACY, [dataclasses.replace(measured(float(s.values.mean())), sample=s) for s in several])
    assert [cell and cell.mark for cell in ranked.cells] == ["best", mark, ""]


@pytest.mark.parametrize("turned", [[2, 0, 1], [1, 2, 0]])
def test_the_order_of_the_methods_does_not_matter(turned: list[int]) -> None:
    methods = [measured(0.8), measured(0.75), measured(0.5)]
    found = pairs([*methods], {1: 0.06, 2: 0.02}, apart=[2]).in_order(turned)
    wanted = ["best", "unknown", ""]
    assert marks(ACCURACY, [methods[i] for i in turned], found) == [wanted[i] for i in turned]
