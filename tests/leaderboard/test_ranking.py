from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from kdbench.leaderboard import Board, Boards, Row, rank
from kdbench.leaderboard.keys import file_key
from kdbench.specs import NetworkSpec, Suite, TaskPlan
from tests.leaderboard.evidence import Made, digest, digits, make, many

FEW = ("clean", "pgd")


def boards(folder: Path, *made: Made) -> Boards:
    for one in made:
        one.publish(folder)
    return rank(folder)


def board(folder: Path, *made: Made) -> Board:
    [one] = boards(folder, *made).boards
    return one


def row(found: Board, title: str) -> Row:
    [one] = [one for one in found.rows if one.title == title]
    return one


def reasons(found: Board) -> list[str]:
    return sorted(one.reason for one in found.excluded)


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
    assert [one.method for one in found.rows if one.cells["clean/clean"].best] == ["best"]
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
    found = board(tmp_path, make("calibrated", skill=2.5), make("not", skill=-0.5))
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
    assert ranks["scattered"] == (1, 5)  # no test tells it from anybody
    assert (ranks["best"], ranks["second"], ranks["last"]) == ((1, 2), (2, 3), (4, 5))
    middle = {name: (first + last) / 2 for name, (first, last) in ranks.items()}
    assert middle["best"] < middle["second"] < middle["scattered"] < middle["last"]


def test_an_axis_that_decides_nothing_is_named(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", skill=0, tasks=FEW), make("b", skill=0, tasks=FEW), make("c", tasks=["clean"]))
    assert "PGD-20 ε .031: no two methods differ significantly, so that its first place says nothing." in found.notes
    assert not any(note.startswith("clean:") for note in found.notes)


def test_mean_rank_is_only_for_those_with_every_axis(tmp_path: Path) -> None:
    found = board(tmp_path, make("whole"), make("part", skill=3, tasks=FEW), make("clean-only", conditions=["clean"]))
    assert found.rows[0].method == "whole"
    assert found.rows[0].mean_rank == np.mean(
        [(cell.rank + cell.last_rank) / 2 for cell in found.rows[0].cells.values()]
    )
    assert [one.mean_rank for one in found.rows[1:]] == [None, None]
    assert set(row(found, "part").cells) == {"clean/clean", "clean/pgd"}


def test_a_seed_that_lacks_an_axis_leaves_no_mean_rank(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", seed=0), make("a", seed=1, tasks=FEW))
    assert found.rows[0].mean_rank is None
    assert len(found.rows[0].cells["clean/ood"].per_seed) == 1
    assert len(found.rows[0].cells["clean/pgd"].per_seed) == 2


def test_one_seed_has_an_interval_from_examples_and_it_is_said(tmp_path: Path) -> None:
    found = board(tmp_path, make("a"), *(make("b", seed=seed) for seed in range(2)))
    assert row(found, "a").cells["clean/clean"].basis == "examples"
    assert any(note.startswith("1 of 2 methods have one seed only") for note in found.notes)


def test_flagged_scores_come_last_with_their_reason(tmp_path: Path) -> None:
    found = board(tmp_path, make("honest", skill=0), make("gradient-masking", skill=3, flagged=True))
    cell = row(found, "gradient-masking").cells["clean/pgd"]
    assert cell.value > row(found, "honest").cells["clean/pgd"].value
    assert (cell.ranks, cell.best) == ("2", False)
    assert cell.flags == ("Check large_eps of pgd failed: large_eps of pgd (seed 0).",)
    assert row(found, "honest").cells["clean/pgd"].rank == 1
    assert row(found, "gradient-masking").cells["clean/clean"].rank == 1
    assert row(found, "gradient-masking").cells["clean/clean"].flags == ()


def test_a_random_model_that_was_attacked_without_averaging_is_flagged(tmp_path: Path) -> None:
    plain = make("random", skill=3, random=True)
    found = board(tmp_path, plain, make("other"))
    assert "answers at random" in row(found, "random").cells["clean/pgd"].flags[0]
    averaged = [score.model_copy(update={"setting": {**score.setting, "gradient_draws": 8, "votes": 32}})
                if score.task in ("pgd", "transfer") else score for score in plain.record.scores]  # fmt: skip
    found = board(tmp_path / "again", plain.changed(scores=averaged), make("other"))
    assert row(found, "random").cells["clean/pgd"].flags == ()
    assert row(found, "random").cells["clean/pgd"].rank == 1


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


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a/../../b", "\u202eevil", "x" * 10_000, "é", "", "CON", "a b", "\x00\n"]
)
def test_keys_are_safe_and_stay(name: str) -> None:
    key = file_key(name)
    assert re.fullmatch(r"[a-z0-9-]+", key)
    assert len(key) < 80
    assert key == file_key(name)
    assert key != file_key(name, {"a": 1}) != file_key(name, {"a": 2})


def test_no_name_is_the_key_of_another() -> None:
    for key in (file_key("kd", {"a": 1}), file_key("")):
        assert file_key(key) != key


def test_a_stranger_of_a_method_is_shown_by_its_name_alone(tmp_path: Path) -> None:
    found = board(tmp_path, make("<b>bold</b>"), make("kd"))
    stranger = row(found, "<b>bold</b>")
    assert (stranger.family, stranger.paper, stranger.summary) == ("", "", "")
    known = row(found, "kd")
    assert known.family == "distillation"
    assert known.summary


def other_suite(**changes: object) -> Suite:
    return digits().model_copy(update=changes)


def test_suites_have_boards_of_their_own(tmp_path: Path) -> None:
    found = boards(tmp_path, make("a", tasks=FEW), make("a", tasks=FEW, suite=other_suite(name="long-gone")))
    assert [one.suite for one in found.boards] == ["digits", "long-gone"]
    assert not any("not installed" in note for note in found.boards[0].notes)
    assert any("not installed" in note for note in found.boards[1].notes)
    assert found.boards[1].rows[0].cells["clean/clean"].rank == 1


def test_another_version_of_a_suite_is_apart(tmp_path: Path) -> None:
    found = board(tmp_path, make("a"), make("b", suite=other_suite(version=99)))
    assert [one.method for one in found.rows] == ["a"]
    assert reasons(found) == ["version 99 of the suite; here it is 1"]
    gone = board(
        tmp_path / "x",
        *(make(f"m{i}", suite=other_suite(name="gone", version=1), tasks=FEW) for i in range(3)),
        make("new", suite=other_suite(name="gone", version=2), tasks=FEW),
    )
    assert [one.method for one in gone.rows] == ["new"]  # the newest where none is installed


def test_a_suite_of_the_same_version_with_other_content_is_apart(tmp_path: Path) -> None:
    network = NetworkSpec(model="wrn-40-2", method="ce", seed=1000)
    changed = other_suite(networks={**digits().networks, "teacher": network})
    found = board(tmp_path, make("a"), *(make(f"m{i}", suite=changed) for i in range(3)))
    assert [one.method for one in found.rows] == ["a"]
    [reason] = set(reasons(found))
    assert reason == 'another suite of this name: networks.teacher.model is "wrn-40-2"; here it is "wrn-16-1"'


def test_other_prose_is_the_same_suite(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", suite=other_suite(title="Better words")), make("b"))
    assert len(found.rows) == 2
    assert found.title == digits().title


@pytest.mark.parametrize("version", [1, 3])
def test_versions_of_a_task_are_never_mixed(tmp_path: Path, version: int) -> None:
    found = board(tmp_path, make("a"), make("b", versions={"pgd": version}), make("c", tasks=["clean"]))
    assert {one.method for one in found.rows} == {"a", "c"}
    assert reasons(found) == [f"version {version} of task pgd; here it is 2"]
    assert found.tasks["pgd"] == 2


def test_versions_that_cross_leave_those_of_most(tmp_path: Path) -> None:
    suite = other_suite(name="gone", tasks={"x": TaskPlan(), "y": TaskPlan()})
    found = board(
        tmp_path,
        *(make(f"old-{i}", suite=suite, versions={"x": 2, "y": 1}) for i in range(2)),
        make("new", suite=suite, versions={"x": 1, "y": 2}),
    )
    assert {one.method for one in found.rows} == {"old-0", "old-1"}
    assert reasons(found) == ["other versions of tasks than most"]


def test_other_images_are_apart(tmp_path: Path) -> None:
    standard = {"digits": digest("digits"), "digits-fonts": digest("digits-fonts")}
    found = board(
        tmp_path,
        *(make(f"m{i}") for i in range(2)),
        make("fewer", tasks=["clean"], datasets={"digits": standard["digits"]}),
        make("edited", datasets={**standard, "digits": digest("edited")}),
        make("elsewhere", datasets={"digits": standard["digits"], "my-photos": digest("x")}),
    )
    assert {one.method for one in found.rows} == {"m0", "m1", "fewer"}
    assert reasons(found) == [
        "data set my-photos; here it is digits, digits-fonts",
        "other images of data set digits than most records here",
    ]


def test_published_and_generated_corruptions_are_not_mixed(tmp_path: Path) -> None:
    made = make("b")
    published = made.changed(spec=made.record.spec.model_copy(update={"corruption_images": "published"}))
    found = board(tmp_path, make("a"), make("c"), published)
    assert reasons(found) == ["published corruption images; here they are generated"]
    assert "Corrupted images: generated." in found.notes


def test_an_older_source_of_a_method_is_apart(tmp_path: Path) -> None:
    old, new = digest("old"), digest("new")
    found = board(
        tmp_path,
        make("mine", seed=0, source=old, finished="2026-01-01T00:00:00+00:00"),
        make("mine", seed=1, source=new, finished="2026-02-01T00:00:00+00:00"),
    )
    assert len(found.rows[0].runs) == 1
    assert found.rows[0].runs[0].record.spec.seed == 1
    assert reasons(found) == ["another source of method mine than the one that is ranked"]


def test_runs_whose_recipes_or_resolved_parameters_differ_are_not_averaged(tmp_path: Path) -> None:
    made = make("mine", seed=1, finished="2025-01-01T00:00:00+00:00")
    spec = made.record.spec
    longer = {**spec.recipes, "clean": spec.recipes["clean"].model_copy(update={"epochs": 99})}
    tuned = {**spec.params, "clean": {"alpha": 2}}
    found = board(
        tmp_path,
        make("mine"),
        made.changed(spec=spec.model_copy(update={"recipes": longer})),
        made.changed(spec=spec.model_copy(update={"params": tuned})),
    )
    assert len(found.rows[0].runs) == 1
    assert [reason.partition(" under")[0] for reason in reasons(found)] == [
        "another training recipe",
        "other resolved parameters",
    ]


def test_one_seed_counts_once(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", seed=0, tasks=["clean"]), make("a", seed=0))
    assert len(found.rows[0].runs) == 1
    assert len(found.rows[0].cells) == 8
    assert reasons(found) == [f"seed 0 once more: run {found.rows[0].runs[0].record.run_id} counts"]


def test_extended_budgets_are_marked(tmp_path: Path) -> None:
    found = board(tmp_path, make("a", budget="extended"), make("b"))
    assert {one.method: one.budget for one in found.rows} == {"a": "extended", "b": "standard"}


def test_other_json_is_listed_apart_of_all_boards(tmp_path: Path) -> None:
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
    found = board(tmp_path, *many(100, tasks=["clean"], conditions=["clean"]))
    ranks = [one.cells["clean/clean"].rank for one in found.rows]
    assert len(ranks) == 100
    assert max(ranks) > 1 == min(ranks)
