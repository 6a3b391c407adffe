"""Ranks from small matrices that are worked out here, and from samples whose differences are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kdbench.leaderboard.board import Axis, Measurement
from kdbench.leaderboard.ranks import rank_axis, rank_ranges
from kdbench.results.comparison import Sample, estimate, shares

NONE = np.zeros(0, dtype=bool)


def matrix(text: str) -> np.ndarray:
    """``"011/001/000"``: 1 where the row's method is significantly better than the column's."""
    return np.array([[cell == "1" for cell in line] for line in text.split("/")])


def flags(text: str) -> np.ndarray:
    return np.array([flag == "!" for flag in text])


@pytest.mark.parametrize(
    ("better", "flagged", "ranges"),
    [
        # A chain: each is better than all after it.
        ("0111/0011/0001/0000", "....", [(1, 1), (2, 2), (3, 3), (4, 4)]),
        # Nothing is significant: all ranks are open to all.
        ("000/000/000", "...", [(1, 3), (1, 3), (1, 3)]),
        # Two that do not differ share the ranks after the best and before the worst.
        ("0111/0001/0001/0000", "....", [(1, 1), (2, 3), (2, 3), (4, 4)]),
        # Not transitive: a beats c, and b differs from neither. a: none above, one below. b: none, none.
        ("001/000/000", "...", [(1, 2), (1, 3), (2, 3)]),
        # The order of the methods does not matter: the same chain backwards.
        ("000/100/110", "...", [(3, 3), (2, 2), (1, 1)]),
        # The best one is flagged: it comes after the two others, whose ranks it does not touch.
        ("011/001/000", "!..", [(3, 3), (1, 1), (2, 2)]),
        # Two flagged ones share the last ranks where they do not differ, whatever they beat.
        ("0011/0011/0001/0000", "!!..", [(3, 4), (3, 4), (1, 1), (2, 2)]),
        # Two flagged ones that do differ.
        ("0111/0011/0000/0000", "!!..", [(3, 3), (4, 4), (1, 2), (1, 2)]),
        # All are flagged: as if none were.
        ("011/001/000", "!!!", [(1, 1), (2, 2), (3, 3)]),
        ("0", ".", [(1, 1)]),
        ("0", "!", [(1, 1)]),
    ],
)
def test_rank_ranges(better: str, flagged: str, ranges: list[tuple[int, int]]) -> None:
    assert rank_ranges(matrix(better), flags(flagged), np.zeros(len(flagged), dtype=bool)) == ranges


def test_no_methods_have_no_ranks() -> None:
    assert rank_ranges(np.zeros((0, 0), dtype=bool), NONE, NONE) == []


def test_every_consistent_order_of_the_tests_lies_within_the_ranges() -> None:
    """By brute force: in each ranking that contradicts no test, a method's place is one of its ranks."""
    import itertools

    rng = np.random.default_rng(0)
    for _ in range(30):
        levels = rng.integers(4, size=5)
        better = np.subtract.outer(levels, levels) >= 2
        ranges = rank_ranges(better, np.zeros(5, dtype=int), np.zeros(5, dtype=bool))
        seen: list[set[int]] = [set() for _ in range(5)]
        for order in itertools.permutations(range(5)):
            if not any(better[later, earlier] for earlier, later in itertools.combinations(order, 2)):
                for place, method in enumerate(order, start=1):
                    seen[method].add(place)
        assert all(low <= min(places) and max(places) <= high for (low, high), places in zip(ranges, seen, strict=True))
        assert [min(places) for places in seen] == [low for low, _ in ranges]
        assert [max(places) for places in seen] == [high for _, high in ranges]


def axis(higher_is_better: bool = True) -> Axis:
    return Axis("clean/x", "x", "clean", "x", "accuracy", {}, "fraction", higher_is_better)


def measurement(sample: Sample, *reasons: str) -> Measurement:
    known = estimate(sample)
    return Measurement(
        value=known.value, ci_low=known.ci_low, ci_high=known.ci_high, basis=known.basis, n=sample.n, per_seed=(),
        sample=sample, contradicted=False, flags=reasons,
    )  # fmt: skip


def right(count: int, n: int = 200, seeds: int = 2) -> Sample:
    """Seeds that are all right on the first ``count`` of n examples."""
    return shares(np.tile(np.arange(n) < count, (seeds, 1)))


def test_an_axis_is_ranked_by_paired_differences() -> None:
    """Right on nested sets: 150 and 149 of 200 differ by one example, 150 and 60 by ninety."""
    ranked = rank_axis(axis(), [measurement(right(60)), measurement(right(150)), measurement(right(149))])
    assert [cell and (cell.rank, cell.last_rank) for cell in ranked.cells] == [(3, 3), (1, 2), (1, 2)]
    assert [cell and cell.mark for cell in ranked.cells] == ["", "best", "unknown"]
    np.testing.assert_allclose(ranked.pairs.value[1], [90 / 200, 0, 1 / 200])
    assert ranked.pairs.significant.tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert ranked.pairs.paired.all()


def test_where_lower_is_better_the_order_turns() -> None:
    ranked = rank_axis(axis(higher_is_better=False), [measurement(right(60)), measurement(right(150))])
    assert [cell and cell.ranks for cell in ranked.cells] == ["1", "2"]
    assert ranked.pairs.value[1, 0] == pytest.approx(0.45), "a difference stays value minus value"


def test_a_method_without_a_score_takes_no_rank() -> None:
    ranked = rank_axis(axis(), [None, measurement(right(150)), None, measurement(right(60))])
    assert [cell and cell.ranks for cell in ranked.cells] == [None, "1", None, "2"]
    assert np.isnan(ranked.pairs.value[0]).all()
    assert not ranked.pairs.significant[0].any()
    assert rank_axis(axis(), [None, None]).cells == (None, None)


def test_a_flagged_score_comes_after_all_others_and_is_never_best() -> None:
    ranked = rank_axis(axis(), [measurement(right(190), "Doubtful."), measurement(right(60))])
    assert [cell and cell.ranks for cell in ranked.cells] == ["2", "1"]
    alone = rank_axis(axis(), [measurement(right(190), "Doubtful.")]).cells[0]
    assert alone is not None
    assert (alone.rank, alone.mark, alone.flags) == (1, "", ("Doubtful.",))


def test_a_comparison_with_one_seed_leaves_ranks_open() -> None:
    """150 and 60 right of 200 are far apart over images, but a single network of one method says nothing of another."""
    ranked = rank_axis(axis(), [measurement(right(60)), measurement(right(150, seeds=1)), measurement(right(120))])
    assert [cell and cell.ranks for cell in ranked.cells] == ["2–3", "1–3", "1–2"]  # noqa: RUF001  # the page's dash
    assert ranked.pairs.value[1, 0] == pytest.approx(0.45)
    assert ranked.pairs.half_width[1, 0] > 0, "the difference stays, with its interval over images"
    assert np.isnan(ranked.pairs.p_value[1, [0, 2]]).all()
    assert ranked.pairs.significant.tolist() == [[False, False, True], [False, False, False], [True, False, False]]


def test_methods_with_few_seeds_move_none_that_has_enough() -> None:
    """However many there are: ten with one seed, two with two seeds of which one is worse than all."""
    enough = [measurement(right(count, seeds=3)) for count in (60, 150, 149)]
    alone = [cell and (cell.rank, cell.last_rank) for cell in rank_axis(axis(), enough).cells]
    few = [measurement(right(count, seeds=seeds)) for count, seeds in [(100, 1)] * 10 + [(190, 2), (10, 2)]]
    ranked = [cell and (cell.rank, cell.last_rank) for cell in rank_axis(axis(), [*few, *enough]).cells]
    assert ranked[12:] == alone == [(3, 3), (1, 2), (1, 2)]
    assert ranked[:10] == [(1, 15)] * 10
    assert ranked[10:12] == [(1, 11), (5, 15)]  # tested against those that have two seeds or more


def test_methods_with_two_seeds_cost_those_that_have_three_no_power() -> None:
    """Two that a test tells apart by itself, and no longer after a correction for eight more methods."""
    enough = [measurement(right(count, seeds=3)) for count in (112, 103)]
    few = [measurement(right(count, seeds=2)) for count in range(100, 116, 2)]
    alone, among = rank_axis(axis(), enough), rank_axis(axis(), [*enough, *few])
    assert [cell and cell.ranks for cell in alone.cells] == ["1", "2"]
    assert [cell and cell.ranks for cell in among.cells[:2]] == ["1", "2"]
    three = rank_axis(axis(), [*enough, *(measurement(right(count, seeds=3)) for count in range(100, 116, 2))])
    assert three.cells[0] is not None and three.cells[0].ranks != "1"


def test_a_model_from_elsewhere_comes_after_methods_with_few_seeds_too() -> None:
    elsewhere = dataclasses.replace(measurement(right(190, seeds=1)), evaluated=True)
    for seeds in (1, 2, 3):
        trained = [measurement(right(count, seeds=seeds)) for count in (60, 150)]
        first, *_ = rank_axis(axis(), [elsewhere, *trained]).cells
        assert first is not None and first.rank == 3


def test_what_is_not_tested_costs_the_tests_no_power() -> None:
    """The p-value of two methods with two seeds lies between .05 / 21 and .05, and their pair is the only test."""
    alone = [measurement(right(100, seeds=1)) for _ in range(5)]
    ranked = rank_axis(axis(), [measurement(right(110)), measurement(right(103)), *alone])
    assert 0.05 / 21 < ranked.pairs.p_value[0, 1] < 0.05
    assert ranked.pairs.significant[0, 1]


def test_a_cell_keeps_what_was_measured() -> None:
    one = measurement(right(60))
    [cell] = rank_axis(axis(), [one]).cells
    assert cell is not None
    assert {**vars(one), "rank": 1, "last_rank": 1, "mark": ""} == vars(cell)
