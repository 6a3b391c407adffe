"""From records on disk to boards: the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.leaderboard import rank
from kdbench.leaderboard.keys import file_key
from kdbench.suites.changes import with_changes
from tests.leaderboard.evidence import digits, make, many
from tests.leaderboard.ranked import FEW, board, boards, other_suite, row


def test_better_methods_rank_higher_and_equal_ones_share(tmp_path: Path) -> None:
    found = board(
        tmp_path,
        *(make("best", seed=seed, skill=2.2, tasks=FEW) for seed in range(3)),
        *(make("good", seed=seed, skill=1.2, tasks=FEW) for seed in range(3)),
        *(make("good-too", seed=seed, skill=1.2, tasks=FEW) for seed in range(3)),
        *(make("bad", seed=seed, skill=-0.5, tasks=FEW) for seed in range(3)),
    )
    cells = {one.method: one.cells["clean/clean"] for one in found.rows}
    ranks = {name: (cell.rank, cell.last_rank) for name, cell in cells.items()}
    assert ranks == {"best": (1, 1), "good": (2, 3), "good-too": (2, 3), "bad": (4, 4)}
    assert cells["good"].ranks == "2\N{EN DASH}3"
    assert [one.method for one in found.rows if one.cells["clean/clean"].mark == "best"] == ["best"]
    cell = row(found, "best").cells["clean/clean"]
    assert [seed for seed, _ in cell.per_seed] == [0, 1, 2]
    assert cell.value == pytest.approx(np.mean([score.value for _, score in cell.per_seed]))
    assert cell.ci_low < cell.value < cell.ci_high
    assert (cell.basis, cell.n) == ("seeds and examples", 500)


def test_pairs_are_in_the_order_of_the_rows(tmp_path: Path) -> None:
    found = board(tmp_path, make("b", skill=1), make("a", skill=0), make("c", skill=2.5, tasks=FEW))
    for key, pairs in found.pairs.items():
        values = [one.cells[key].value if key in one.cells else np.nan for one in found.rows]
        np.testing.assert_allclose(pairs.value, np.subtract.outer(values, values), atol=1e-6)
    assert found.pairs["clean/clean"].paired.all()


def test_lower_is_better_where_a_task_says_so(tmp_path: Path) -> None:
    skills = {"calibrated": 2.5, "not": -0.5}
    found = board(tmp_path, *(make(name, seed=seed, skill=skills[name]) for name in skills for seed in range(2)))
    cells = {one.method: one.cells["clean/calibration"] for one in found.rows}
    assert cells["calibrated"].value < cells["not"].value
    assert (cells["calibrated"].rank, cells["not"].rank) == (1, 2)


def test_scatter_over_seeds_moves_a_method_to_the_middle_and_not_to_the_front(tmp_path: Path) -> None:
    steady = {"best": 2.2, "second": 1.4, "third": 1.0, "last": -0.5}
    found = board(
        tmp_path,
        *(make(name, seed=seed, skill=skill, tasks=FEW) for name, skill in steady.items() for seed in range(3)),
        *(make("scattered", seed=seed, skill=2 * seed - 1.2, tasks=FEW) for seed in range(3)),
    )
    cells = {one.method: one.cells["clean/clean"] for one in found.rows}
    assert cells["scattered"].value < cells["second"].value
    ranks = {name: (cell.rank, cell.last_rank) for name, cell in cells.items()}
    assert ranks["scattered"] == (1, 5)  # no test finds a difference from any other
    assert (ranks["best"], ranks["second"], ranks["last"]) == ((1, 2), (2, 3), (4, 5))
    middle = {name: (first + last) / 2 for name, (first, last) in ranks.items()}
    assert middle["best"] < middle["second"] < middle["scattered"] < middle["last"]


def test_mean_rank_is_only_for_those_with_every_axis(tmp_path: Path) -> None:
    several: dict[str, dict[str, Any]] = {
        "whole": {}, "part": {"skill": 3, "tasks": FEW}, "clean-only": {"conditions": ["clean"]},
    }  # fmt: skip
    found = board(tmp_path, *(make(name, seed=seed, **several[name]) for name in several for seed in range(3)))
    assert found.rows[0].method == "whole"
    middle = {key: cell.midrank for key, cell in found.rows[0].cells.items()}
    natural = np.mean([middle["clean/clean"], middle["clean/ood"], middle["clean/corruption"]])
    calibration = np.mean([middle["clean/calibration"], middle["sym-40/calibration"]])
    wanted = np.mean([natural, middle["clean/pgd"], middle["sym-40/noisy_label"], calibration])
    assert found.rows[0].mean_rank == pytest.approx(wanted), "families count alike, and transfer not at all"
    assert [one.mean_rank for one in found.rows[1:]] == [None, None]
    assert set(row(found, "part").cells) == {"clean/clean", "clean/pgd"}


def test_a_method_that_loses_its_seeds_gains_no_place(tmp_path: Path) -> None:
    """The luckiest of seeds that differ much must not be in front of others, nor move them."""
    steady = {name: 1.5 - 0.1 * number for number, name in enumerate("abcd")}
    made = [make(name, seed=seed, skill=skill) for name, skill in steady.items() for seed in range(3)]
    scattered = [make("scattered", seed=seed, skill=2.5 * seed - 3) for seed in range(3)]
    before = board(tmp_path / "three", *made, *scattered)
    after = board(tmp_path / "one", *made, scattered[2])
    assert after.rows[-1].method == "scattered"
    lucky = after.rows[-1]
    assert (lucky.mean_rank, lucky.unranked) == (None, "1 seed: unranked")
    assert {cell.ranks for cell in lucky.cells.values()} == {"1–5"}  # noqa: RUF001  # the page's dash
    assert {cell.mark for cell in lucky.cells.values()} <= {"unknown", ""}
    three, one = (row(found, "scattered").cells["clean/clean"] for found in (before, after))
    assert one.ci_high - one.ci_low < three.ci_high - three.ci_low, "its interval is the narrower one"
    without = board(tmp_path / "none", *made)
    assert [each.method for each in after.rows[:-1]] == [each.method for each in without.rows]


def test_a_seed_that_lacks_an_axis_leaves_no_mean_rank(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", seed=0), make("a", seed=1, tasks=FEW))
    assert found.rows[0].mean_rank is None
    assert len(found.rows[0].cells["clean/ood"].per_seed) == 1
    assert len(found.rows[0].cells["clean/pgd"].per_seed) == 2


def test_flagged_scores_come_last_with_their_reason(tmp_path: Path) -> None:
    found = board(tmp_path, make("honest", skill=0), make("gradient-masking", skill=3, flagged=True))
    cell = row(found, "gradient-masking").cells["clean/pgd"]
    assert cell.value > row(found, "honest").cells["clean/pgd"].value
    assert (cell.ranks, cell.mark) == ("2", "")
    assert cell.flags == ("Check large_eps of pgd failed: large_eps of pgd (seed 0).",)
    assert row(found, "honest").cells["clean/pgd"].rank == 1
    assert row(found, "gradient-masking").cells["clean/clean"].rank == 1
    assert row(found, "gradient-masking").cells["clean/clean"].flags == ()


def test_a_checkpoint_that_was_chosen_on_the_test_images_is_flagged_everywhere(tmp_path: Path) -> None:
    found = board(tmp_path, make("peeking", skill=3).changed(checkpoint_rule="best-on-test"), make("other"))
    assert all("on the test images" in cell.flags[0] for cell in row(found, "peeking").cells.values())
    assert {cell.rank for cell in row(found, "peeking").cells.values()} == {2}


def test_failed_runs_are_shown_and_never_averaged(tmp_path: Path) -> None:
    found = board(
        tmp_path, make("a", seed=0), make("a", seed=1, failed="diverged"), make("lost", failed="diverged"), make("b")
    )
    one = row(found, "a")
    assert [run.record.spec.seed for run in one.failed] == [1]
    assert len(one.cells["clean/clean"].per_seed) == 1
    assert one.mean_rank is None
    lost = row(found, "lost")
    assert (lost.runs, dict(lost.cells), lost.mean_rank) == ((), {}, None)
    assert lost.failed[0].record.error == "diverged"


def test_the_mean_of_the_seeds_that_did_not_fail_is_doubtful_and_comes_after_all_others(tmp_path: Path) -> None:
    """Under the condition that a seed diverged under; its clean training went well."""
    lucky = [*(make("lucky", seed=seed, skill=3) for seed in range(3)), make("lucky", seed=3, failed="diverged")]
    found = board(tmp_path, *lucky, *(make("steady", seed=seed, skill=0.5) for seed in range(3)))
    noisy, clean = (row(found, "lucky").cells[axis] for axis in ("sym-40/noisy_label", "clean/clean"))
    assert noisy.flags == ("The run failed, and the score is of those that did not (seed 3).",)
    assert (noisy.rank, noisy.mark, row(found, "steady").cells["sym-40/noisy_label"].rank) == (2, "", 1)
    assert (clean.flags, clean.rank) == ((), 1)


def test_names_that_differ_by_case_have_rows_and_keys_of_their_own(tmp_path: Path) -> None:
    found = board(tmp_path, make("KD"), make("kd"), make("Kd"))
    assert {one.title for one in found.rows} == {"KD", "kd", "Kd"}
    keys = {one.key for one in found.rows}
    assert len({key.lower() for key in keys}) == 3
    assert "These methods differ only by the case of their names, and each has its row: KD, Kd, kd." in found.notes


def test_parameters_make_another_row(tmp_path: Path) -> None:
    found = board(tmp_path, make("kd"), make("kd", params={"temperature": 8}), make("kd", params={"alpha": 0.5}))
    assert {one.title for one in found.rows} == {"kd", "kd (temperature=8)", "kd (alpha=0.5)"}
    assert len({one.key for one in found.rows}) == 3


def test_suites_have_boards_of_their_own(tmp_path: Path) -> None:
    found = boards(tmp_path, make("a", tasks=FEW), make("a", tasks=FEW, suite=other_suite(name="long-gone")))
    assert [one.suite for one in found.boards] == ["digits", "long-gone"]
    assert not any("not installed" in note for note in found.boards[0].notes)
    assert any("not installed" in note for note in found.boards[1].notes)
    assert found.boards[1].rows[0].cells["clean/clean"].rank == 1


def test_other_json_belongs_to_no_board(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    found = boards(tmp_path, make("a", tasks=FEW))
    assert [one.path.name for one in found.excluded] == ["package.json"]
    assert len(found.boards) == 1


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    made = [make(name, skill=1 + number) for number, name in enumerate("abc")]
    first = board(tmp_path / "x", *made)
    for number, one in enumerate(made):
        one.keep(tmp_path / "y" / str(2 - number))
    [second] = rank(tmp_path / "y").boards
    assert [one.key for one in first.rows] == [one.key for one in second.rows]
    assert [dict(one.cells) for one in first.rows] == [dict(one.cells) for one in second.rows]


def test_a_hundred_methods(tmp_path: Path) -> None:
    found = board(tmp_path, *many(100, seeds=2, tasks=["clean"], conditions=["clean"]))
    ranks = [one.cells["clean/clean"].rank for one in found.rows]
    assert len(ranks) == 100
    assert max(ranks) > 1 == min(ranks)


def test_a_setting_that_was_changed_by_hand_has_a_board_of_its_own(tmp_path: Path) -> None:
    other = with_changes(digits(), {"recipe.epochs": 3})
    made = [make("a", seed=seed, suite=suite, tasks=FEW) for seed in range(3) for suite in (digits(), other)]
    found = boards(tmp_path, *made).boards
    assert [one.suite for one in found] == ["digits", "digits, recipe.epochs=3"]
    assert found[0].key == "digits"
    assert found[1].key == file_key("digits", {"recipe.epochs": 3})
    assert [len(row.runs) for one in found for row in one.rows] == [3, 3], "no mean is over both"
    assert not found[0].excluded and not found[1].excluded
    note = "Not the standard setting of suite digits: these values were set by hand."
    assert [note in one.notes for one in found] == [False, True]
