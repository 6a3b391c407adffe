"""What the table says: marks, scales, and the numbers for its scripts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from kdbench.leaderboard.board import Axis, Board, Cell, Pairs, Row
from kdbench.leaderboard.ranking import rank
from kdbench.leaderboard.rows import unequal_views
from kdbench.leaderboard.site import table
from kdbench.leaderboard.site.badges import row_badges
from kdbench.plugin.loader import load_plugins
from tests.browser import boards
from tests.leaderboard.evidence import make

ACCURACY, ECE = boards.AXES[0], boards.AXES[5]


def cell(value: float, rank: int = 1, *flags: str, **changes: object) -> Cell:
    one = boards.row("x", "x", (value,), bare=True).cells["clean/clean"]
    return dataclasses.replace(
        one, value=value, ci_low=value - 0.02, ci_high=value + 0.02, rank=rank, last_rank=3, flags=flags, **changes
    )


def alone(value: float) -> Cell:
    """Of one seed."""
    return boards.row("x", "x", (value,), seeds=1, bare=True).cells["clean/clean"]


def board(*cells: Cell | None, axis: Axis = ACCURACY) -> Board:
    """One row per cell on one axis."""
    empty = boards.row("x", "x", (), bare=True)
    rows = [
        dataclasses.replace(empty, key=f"m{i}", title=f"m{i}", cells={axis.key: one} if one else {})
        for i, one in enumerate(cells)
    ]
    return dataclasses.replace(boards.small().boards[0], axes=(axis,), rows=tuple(rows))


def marks(found: Board) -> list[str | None]:
    return [row["cells"][0] and row["cells"][0]["kind"] for row in table.board_view(found)["rows"]]


def test_where_no_two_methods_differ_the_heading_says_why_there_is_no_mark() -> None:
    found = board(cell(0.8), cell(0.9), None)
    assert marks(found) == ["d0", "d0", None]
    assert table.axis_view(found, ACCURACY)["undecided"] == "no significant difference"
    assert table.axis_view(board(cell(0.8), alone(0.9)), ACCURACY)["undecided"] == "not tested"
    assert table.axis_view(board(cell(0.8), cell(0.9, mark="best")), ACCURACY)["undecided"] == ""
    assert table.axis_view(board(None), ACCURACY)["undecided"] == "", "nobody was measured"


def test_marks_are_those_of_the_cells_with_a_sign_each() -> None:
    found = board(
        cell(0.8, mark="unknown"), cell(0.9, mark="best"), cell(0.89, mark="near"), cell(0.99, 4, "Doubtful.")
    )
    assert marks(found) == ["unknown", "best", "near", "doubt"]
    views = [row["cells"][0] for row in table.board_view(found)["rows"]]
    assert [view["sign"] for view in views] == ["○", "★", "☆", ""]
    assert views[1]["value"] == "90.0"
    assert views[1]["half"] == "±2.0"


def test_what_most_cells_of_a_column_say_is_said_once() -> None:
    found = board(cell(0.8), cell(0.9), None, alone(0.7), cell(0.99, 4, "Doubtful."))
    usual, said = table.said_data(found).values()
    assert usual == ["over 3 seeds and examples; n 2,000"]
    assert [row[0] for row in said] == [
        "1-3", "1-3", None, ["over 1 seed and examples; n 2,000", "1", ""],
        ["over 3 seeds and examples; n 2,000", "4-3", "Doubtful."],
    ]  # fmt: skip


def test_the_interval_of_one_seed_is_in_brackets_and_its_row_says_that_it_is_unranked() -> None:
    one, three = dataclasses.replace(boards.row("x", "x", (0.8,), seeds=1)), boards.row("y", "y", (0.8,))
    views = table.board_view(dataclasses.replace(board(), axes=(ACCURACY,), rows=(one, three)))["rows"]
    assert [view["cells"][0]["half"] for view in views] == ["(±2.0)", "±2.0"]
    assert [view["unranked"] for view in views] == ["1 seed: unranked", "incomplete"]


def test_shades_are_the_distance_to_the_best_in_half_intervals_of_the_difference() -> None:
    value = np.array([0.9, 0.86, 0.82, 0.72, 0.2, 0.895])
    known = ~np.eye(6, dtype=bool)
    known[0, 5] = known[5, 0] = False
    pairs = Pairs(value[:, None] - value, np.full((6, 6), 0.025), np.full((6, 6), 0.01), known, known)
    cells = [cell(one, mark="best" if one == 0.9 else "") for one in value]
    found = dataclasses.replace(board(*cells), pairs={ACCURACY.key: pairs})
    assert marks(found) == ["best", "d1", "d2", "d3", "d4", "d0"], "1.6, 3.2, 7.2 and 28 halves; no test tells the last"


def test_a_column_says_unit_direction_and_test_images() -> None:
    view = table.axis_view(board(cell(0.02, n=2000), cell(0.03, n=500), axis=ECE), ECE)
    assert (view["unit"], view["better"], view["n"], view["setting"]) == ("%", "lower", "500 to 2,000", "bins 15")
    assert view["what"] == "ece of task calibration, condition clean"
    assert table.axis_view(board(cell(0.5, n=2000)), ACCURACY)["n"] == "2,000"


def rows_with(*counts: int) -> Board:
    rows = [dataclasses.replace(boards.row("x", "x", (), bare=True), runs=(None,) * count) for count in counts]
    return dataclasses.replace(board(), rows=tuple(rows))


@pytest.mark.parametrize(
    ("counts", "said"),
    [((3, 3), "3 seeds per method"), ((1,), "1 seed per method"), ((1, 3, 2), "1 to 3 seeds per method"),
     ((0, 2), "2 seeds per method"), ((0,), "no finished runs"), ((), "no finished runs")],
)  # fmt: skip
def test_seeds_are_counted_over_methods_that_have_any(counts: tuple[int, ...], said: str) -> None:
    assert table.seeds(rows_with(*counts)) == said


def test_each_machine_is_named_once() -> None:
    assert table.hardware(boards.small().boards[0]) == ["EPYC (cpu, 2 threads, torch 2.15.0)"]


def test_the_numbers_for_the_scripts_are_those_of_the_table() -> None:
    found = board(cell(0.8123456789, mark="best"), None, cell(0.5, 2, "Doubtful."))
    data = table.table_data(found)
    assert data["axes"] == [["clean/clean", "clean", "fraction", 1]]
    assert data["rows"] == [
        ["m0", "m0", "baselines", None, [[0.812346, 0.792346, 0.832346, 0, 0, "best"]]],
        ["m1", "m1", "baselines", None, [None]],
        ["m2", "m2", "baselines", None, [[0.5, 0.48, 0.52, 1]]],
    ]
    assert data["signs"]["best"] == "★"
    assert table.table_data(board(alone(0.5)))["rows"][0][4][0][4:] == [1]
    broken = cell(0.5)
    assert table.table_data(board(dataclasses.replace(broken, ci_low=math.nan)))["rows"][0][4] == [None]


def begun(*columns: tuple[str, bool | None], name: str = "robust") -> int:
    """The axis that a plot begins with; each column is its metric and family, and whether methods differ on it; None:
    none was measured on it."""
    axes = tuple(
        dataclasses.replace(ACCURACY, key=f"{number}", metric=metric, family=metric)
        for number, (metric, _) in enumerate(columns)
    )
    cells = [
        {
            f"{number}": cell(0.9 - 0.1 * place, mark="best" if differ and not place else "")
            for number, (_, differ) in enumerate(columns)
            if differ is not None
        }
        for place in range(2)
    ]
    rows: tuple[Row, ...] = tuple(
        dataclasses.replace(boards.row("x", "x", (), bare=True), cells=by_axis) for by_axis in cells
    )
    found: int = table.table_data(dataclasses.replace(board(), axes=axes, rows=rows))[name]
    return found


def test_the_scatter_begins_with_robustness_where_methods_differ_in_it() -> None:
    assert begun(("accuracy", True), ("mca", True), ("robust_accuracy", True)) == 2
    assert begun(("accuracy", True), ("mca", True), ("robust_accuracy", False)) == 1
    assert begun(("accuracy", True), ("robust_accuracy", False), ("mca", False)) == 1
    assert begun(("accuracy", True), ("ece", True)) == 1
    assert begun(("accuracy", True)) == 0
    assert begun(("accuracy", True), ("robust_accuracy", None), ("mca", None), ("ece", False)) == 3, "what there is"


def test_the_list_begins_with_what_the_scatter_does_not_show_where_methods_differ_in_it() -> None:
    shown = (("accuracy", True), ("robust_accuracy", True))
    assert begun(*shown, ("ece", False), ("noisy labels", True), name="sorted") == 3
    assert begun(*shown, ("ece", True), ("noisy labels", True), name="sorted") == 3, "families have an order"
    assert begun(*shown, ("ece", True), ("noisy labels", False), name="sorted") == 2
    assert begun(*shown, ("ece", False), name="sorted") == 2
    assert begun(*shown, ("ece", None), ("noisy labels", False), name="sorted") == 3
    assert begun(*shown, ("ece", None), name="sorted") == 0
    assert begun(("accuracy", True), name="sorted") == 0


def test_a_row_says_what_its_students_saw_only_where_rows_differ() -> None:
    found = board(cell(0.8), cell(0.9), cell(0.7))
    views: tuple[dict[str, str], ...] = ({"clean": "crop"}, {"clean": "strong"}, {})
    rows = tuple(dataclasses.replace(row, views=seen) for row, seen in zip(found.rows, views, strict=True))

    def said(*rows: Row) -> list[list[str]]:
        return [[text for _, text, _ in row_badges(row, unequal_views(rows)) if "view" in text] for row in rows]

    assert said(*rows) == [["view crop"], ["view strong"], []]
    assert said(rows[0], rows[0]) == [[], []]


def test_a_method_is_shown_with_its_paper_and_what_it_takes(tmp_path: Path) -> None:
    """The mean of 12.5 s and 47.5 s a student is half a minute; of 3 and 1.25 GiB the larger is said."""
    for seed, seconds, memory in ((0, 12.5, 3 * 2**30), (1, 47.5, 5 * 2**28)):
        made = make("kd", seed=seed)
        hashes, provenance = made.record.hashes, made.record.provenance
        students = {name: one.model_copy(update={"seconds": seconds}) for name, one in hashes.students.items()}
        made.changed(
            hashes=hashes.model_copy(update={"students": students}),
            provenance=provenance.model_copy(update={"peak_memory_bytes": memory, "peak_device_memory_bytes": None}),
        ).publish(tmp_path / "records")
    ranked = rank(tmp_path / "records").boards[0]
    [row] = table.board_view(ranked)["rows"]
    assert (row["cost"], row["paper"]) == ("0.5 min, 3 GiB", load_plugins().methods.get("kd").paper)
    evil = dataclasses.replace(ranked.rows[0], paper="javascript:alert(1)", runs=())
    [row] = table.board_view(dataclasses.replace(ranked, rows=(evil,)))["rows"]
    assert (row["cost"], row["paper"]) == ("", None)
