"""Rows from runs and cells, with mean ranks worked out by hand."""

from __future__ import annotations

import dataclasses

from kdbench.leaderboard.board import Axis, Cell
from kdbench.leaderboard.method_runs import MethodRuns, by_method
from kdbench.leaderboard.rows import make_row, row_order, unequal_views, view_words
from tests.leaderboard.evidence import Made, make
from tests.leaderboard.ranked import evidence
from tests.leaderboard.test_board import cell


def runs(*made: Made) -> MethodRuns:
    [[one], _] = by_method([evidence(each) for each in made])
    return one


def seeds(name: str, count: int) -> MethodRuns:
    return runs(*(make(name, seed=seed) for seed in range(count)))


def axes(keys: str) -> list[Axis]:
    """One counted axis per letter, of one family."""
    return [Axis(key, key, "clean", key, "accuracy", {}, "fraction", True) for key in keys]


def over(ranks: tuple[int, int], method: MethodRuns) -> Cell:
    """A cell with a score of every seed of the method."""
    scored = tuple((run.record.spec.seed, run.record.scores[0]) for run in method.finished)
    return dataclasses.replace(cell(*ranks), per_seed=scored)


def test_the_mean_rank_is_the_mean_of_the_midranks() -> None:
    """Midranks 1, 2.5 and 4: their mean is 2.5."""
    method = seeds("a", 3)
    cells = {"x": over((1, 1), method), "y": over((2, 3), method), "z": over((3, 5), method)}
    row = make_row(method, cells, axes("xyz"))
    assert (row.mean_rank, row.cells, len(row.runs), row.unranked) == (2.5, cells, 3, "")


def test_only_a_method_with_every_axis_and_every_seed_has_a_mean_rank() -> None:
    method = seeds("a", 3)
    whole = over((1, 1), method)
    part = dataclasses.replace(whole, per_seed=whole.per_seed[:1])
    assert make_row(method, {"x": whole, "y": whole}, axes("xy")).mean_rank == 1
    assert make_row(method, {"x": whole, "y": part}, axes("xy")).mean_rank is None
    missing = make_row(method, {"x": whole, "y": None}, axes("xy"))
    assert (missing.mean_rank, missing.cells, missing.unranked) == (None, {"x": whole}, "incomplete")
    assert make_row(method, {}, ()).mean_rank is None
    failed = runs(*(make("a", seed=seed) for seed in range(3)), make("a", seed=3, failed="diverged"))
    row = make_row(failed, {"x": over((1, 1), failed)}, axes("xyz"))
    assert (row.mean_rank, len(row.runs), len(row.failed), row.unranked) == (None, 3, 1, "failed runs")


def test_what_the_suite_does_not_plan_is_no_part_of_the_mean_rank() -> None:
    method = seeds("a", 3)
    cells = {"x": over((1, 1), method), "y": over((5, 5), method)}
    assert make_row(method, cells, axes("x")).mean_rank == 1
    assert make_row(method, {**cells, "y": None}, axes("x")).mean_rank == 1
    assert make_row(method, cells, axes("x")).cells == cells


def test_fewer_than_three_seeds_have_no_mean_rank() -> None:
    for count, said in ((1, "1 seed: unranked"), (2, "2 seeds: unranked"), (3, "")):
        method = seeds("a", count)
        row = make_row(method, {"x": over((1, 1), method)}, axes("x"))
        assert (row.mean_rank, row.unranked) == (1 if count == 3 else None, said)
    assert make_row(runs(make("a", failed="diverged")), {"x": None}, axes("x")).unranked == "failed runs"


def test_rows_are_ordered_by_mean_rank_and_then_by_name() -> None:
    made = {}
    for title, ranks in {"b": (2, 2), "C": None, "a": (2, 2), "d": (1, 1), "B": None}.items():
        method = seeds(title, 3)
        made[title] = make_row(method, {"x": over(ranks, method) if ranks else None}, axes("x"))
    assert [row.title for row in sorted(made.values(), key=row_order)] == ["d", "a", "b", "B", "C"]


def test_an_installed_method_is_described_and_another_is_its_name_alone() -> None:
    known, unknown = make_row(runs(make("kd")), {}, ()), make_row(runs(make("<b>bold</b>")), {}, ())
    assert (known.family, known.key) == ("distillation", "kd")
    assert known.summary and known.paper.startswith("https://")
    assert (unknown.family, unknown.paper, unknown.summary) == ("", "", "")


def test_one_extended_run_makes_a_row_extended() -> None:
    assert make_row(runs(make("a"), make("a", seed=1)), {}, ()).budget == "standard"
    assert make_row(runs(make("a"), make("a", seed=1, budget="extended")), {}, ()).budget == "extended"
    assert make_row(runs(make("a", failed="x", budget="extended")), {}, ()).budget == "extended"


def test_a_row_has_the_views_that_its_records_name() -> None:
    both = {"clean": "crop", "sym-40": "none"}
    assert make_row(runs(make("a")), {}, ()).views == {}
    assert make_row(runs(make("a"), make("a", seed=1, views=both)), {}, ()).views == both
    assert make_row(runs(make("a", failed="x", views=both)), {}, ()).views == both


def test_views_are_unequal_where_two_rows_are_known_to_differ() -> None:
    suite, strong = {"clean": "crop", "sym-40": "none"}, {"clean": "strong", "sym-40": "strong"}
    rows = [make_row(runs(make(name, views=views)), {}, ()) for name, views in (("a", suite), ("b", strong), ("c", {}))]
    assert unequal_views(rows) == ("clean", "sym-40")
    assert unequal_views(rows[::2]) == () == unequal_views(rows[1:])
    mixed = make_row(runs(make("d", views={"clean": "crop", "sym-40": "strong"})), {}, ())
    assert unequal_views([rows[0], mixed]) == ("sym-40",)


def test_a_view_is_named_once_for_all_conditions_that_have_it() -> None:
    row = make_row(runs(make("a", views={"clean": "crop", "sym-40": "none"})), {}, ())
    assert view_words(row, ["clean", "sym-40"]) == "crop (clean), none (sym-40)"
    assert view_words(row, ["sym-40"]) == "none"
    assert view_words(row, []) == "" == view_words(row, ["web"])
    strong = make_row(runs(make("a", views={"clean": "strong", "sym-40": "strong"})), {}, ())
    assert view_words(strong, ["clean", "sym-40"]) == "strong"
