"""Which records stand in one table, and the reason that the others get."""

from __future__ import annotations

import pytest

from kdbench.leaderboard.grouping import Group, group
from kdbench.specs import NetworkSpec, TaskPlan
from kdbench.suites.changes import with_changes
from tests.leaderboard.evidence import Made, digest, digits, make
from tests.leaderboard.ranked import FEW, evidence, other_suite

STANDARD = {"digits": digest("digits"), "digits-fonts": digest("digits-fonts")}


def grouped(*made: Made) -> Group:
    [one] = group([evidence(each) for each in made])
    return one


def methods(found: Group) -> list[str]:
    return [one.method for one in found.methods]


def reasons(found: Group) -> dict[str, str]:
    """Method to why it is excluded."""
    return {one.method: one.reason for one in found.excluded}


def lost(found: Group) -> dict[str, str]:
    """Method to which of its columns are left out, and why."""
    runs = [run for one in found.methods for run in (*one.finished, *one.failed)]
    return {run.record.spec.method: remark for run in runs for remark in run.remarks if "left out" in remark}


def columns(found: Group) -> dict[str, set[str]]:
    """Method to the tasks that its row has."""
    return {one.method: {score.task for run in one.finished for score in run.record.scores} for one in found.methods}


def test_each_suite_is_a_group_in_order_of_names() -> None:
    groups = group([evidence(make("a", tasks=FEW, suite=other_suite(name=name))) for name in ("z", "digits", "b")])
    assert [(one.suite.name, one.installed) for one in groups] == [("b", False), ("digits", True), ("z", False)]
    assert group([]) == []


@pytest.mark.parametrize("version", [0, 99])
def test_the_installed_version_of_a_suite_is_preferred_to_older_and_newer_ones(version: int) -> None:
    others = [make(f"m{i}", suite=other_suite(version=version)) for i in range(3)]
    found = grouped(*others, make("here"))
    assert (methods(found), found.suite.version, found.installed) == (["here"], 2, True)
    assert reasons(found) == {f"m{i}": f"version {version} of the suite; here it is 2" for i in range(3)}


def test_of_a_suite_that_is_not_installed_the_newest_version_is_ranked() -> None:
    old = [make(f"m{i}", suite=other_suite(name="gone", version=1), tasks=FEW) for i in range(3)]
    found = grouped(*old, make("new", suite=other_suite(name="gone", version=2), tasks=FEW))
    assert (methods(found), found.suite.version, found.installed) == (["new"], 2, False)


def test_a_suite_of_the_same_version_with_other_content_is_excluded() -> None:
    network = NetworkSpec(model="wrn-40-2", method="ce", seed=1000)
    changed = other_suite(networks={**digits().networks, "teacher": network})
    found = grouped(make("a"), *(make(f"m{i}", suite=changed) for i in range(3)))
    assert methods(found) == ["a"]
    reason = 'another suite of this name: networks.teacher.model is "wrn-40-2"; here it is "wrn-16-1"'
    assert set(reasons(found).values()) == {reason}


def test_other_prose_is_the_same_suite() -> None:
    found = grouped(make("a", suite=other_suite(title="Better words", why="Others.")), make("b"))
    assert (methods(found), found.suite.title) == (["a", "b"], digits().title)


@pytest.mark.parametrize("version", [1, 3])
def test_what_another_version_of_a_task_measured_is_left_out_and_the_rest_stays(version: int) -> None:
    """The installed version is preferred to older and newer ones, however few have it."""
    others = [make(f"m{i}", versions={"pgd": version}) for i in range(3)]
    only = make("z", tasks=["pgd"], versions={"pgd": version})
    found = grouped(make("a", tasks=["clean", "pgd"]), *others, make("c", tasks=["clean"]), only)
    assert methods(found) == ["a", "c", "m0", "m1", "m2"]
    assert reasons(found) == {"z": f"version {version} of task pgd; here it is 2"}
    assert lost(found) == {f"m{i}": f"pgd left out: version {version} of task pgd; here it is 2" for i in range(3)}
    assert columns(found) == {
        "a": {"clean", "pgd"}, "c": {"clean"}, **{f"m{i}": set(digits().tasks) - {"pgd"} for i in range(3)},
    }  # fmt: skip
    assert found.tasks["pgd"] == 2


def test_where_no_record_has_the_installed_version_the_newest_is_ranked() -> None:
    found = grouped(*(make(f"old{i}", versions={"pgd": 7}) for i in range(3)), make("new", versions={"pgd": 8}))
    assert (set(lost(found)), found.tasks["pgd"]) == ({"old0", "old1", "old2"}, 8)


def test_the_tasks_of_a_group_are_those_of_its_records() -> None:
    found = grouped(make("a", tasks=["clean"]), make("b", tasks=["clean", "ood"], versions={"clean": 9}))
    assert (methods(found), dict(found.tasks)) == (["a", "b"], {"clean": 1, "ood": 1})


def test_versions_that_cross_cost_each_a_column() -> None:
    """x 2 and y 2 are the newest, and nobody has both."""
    suite = other_suite(name="gone", tasks={"x": TaskPlan(), "y": TaskPlan()})
    found = grouped(
        make("new", suite=suite, versions={"x": 1, "y": 2}),
        *(make(f"old-{i}", suite=suite, versions={"x": 2, "y": 1}) for i in range(2)),
    )
    assert (methods(found), dict(found.tasks)) == (["new", "old-0", "old-1"], {"x": 2, "y": 2})
    assert lost(found) == {
        "new": "x left out: version 1 of task x; here it is 2",
        **{f"old-{i}": "y left out: version 1 of task y; here it is 2" for i in range(2)},
    }


def test_records_on_the_data_sets_of_most_and_on_a_part_of_them_are_compared() -> None:
    found = grouped(
        *(make(f"m{i}") for i in range(2)),
        make("fewer", tasks=["clean"], datasets={"digits": STANDARD["digits"]}),
        make("edited", datasets={**STANDARD, "digits": digest("edited")}),
        make("elsewhere", datasets={"digits": STANDARD["digits"], "my-photos": digest("x")}),
    )
    assert methods(found) == ["elsewhere", "fewer", "m0", "m1"]
    assert reasons(found) == {"edited": "other images of data set digits than most records here"}
    assert lost(found) == {"elsewhere": "ood left out: data set my-photos; here it is digits-fonts"}
    assert columns(found)["elsewhere"] == set(digits().tasks) - {"ood"}


def test_another_out_of_distribution_set_costs_its_column_alone() -> None:
    """A whole record on the second of the suite's sets, two that measured one task on the first."""
    suite = other_suite(ood=("digits-fonts", "away"))
    whole = make("nrd", suite=suite, datasets={"digits": digest("digits"), "away": digest("away")})
    few = [make("kd", seed=seed, suite=suite, tasks=["clean", "ood"]) for seed in (0, 1)]
    found = grouped(whole, *few)
    assert (methods(found), reasons(found)) == (["kd", "nrd"], {})
    assert lost(found) == {"nrd": "ood left out: data set away; here it is digits-fonts"}


def test_little_that_was_measured_does_not_outvote_much() -> None:
    """A whole record, and two of one task on other images of the suite's own set."""
    other = {**STANDARD, "digits": digest("edited")}
    found = grouped(make("nrd"), *(make("kd", seed=seed, tasks=["clean"], datasets=other) for seed in (0, 1)))
    assert methods(found) == ["nrd"]
    assert set(reasons(found)) == {"kd"}


def test_partial_records_do_not_push_a_whole_one_off_the_board() -> None:
    """One whole record of two data sets, two that measured one task and needed one of them."""
    partial = [make("kd", seed=seed, tasks=["clean"], datasets={"digits": digest("digits")}) for seed in (0, 1)]
    found = grouped(make("nrd"), *partial)
    assert methods(found) == ["kd", "nrd"]
    assert reasons(found) == {}


def test_data_sets_that_a_task_takes_besides_push_no_record_off_the_board() -> None:
    """Detection alone, from other images than most; the suite's own out-of-distribution set is another one."""
    suite, own = other_suite(ood=("away",)), {"digits": digest("digits")}
    fonts = {**own, "digits-fonts": digest("fonts")}
    planned = [make(name, suite=suite, datasets={**own, "away": digest("away")}) for name in ("a", "b", "c")]
    beside = [make(name, suite=suite, tasks=["ood_detection"], datasets=fonts) for name in ("d", "e")]
    edited = make("f", suite=suite, tasks=["ood_detection"], datasets={**own, "digits-fonts": digest("edited")})
    stray = make("g", suite=suite, tasks=["clean"], datasets=fonts)
    found = grouped(*planned, *beside, edited, stray)
    assert methods(found) == ["a", "b", "c", "d", "e", "g"]
    assert reasons(found) == {"f": "other images of data set digits-fonts than most records here"}


def test_published_and_generated_corruptions_are_not_mixed() -> None:
    """Those that measured no corruption have no vote."""
    made = make("b")
    published = made.changed(spec=made.record.spec.model_copy(update={"corruption_images": "published"}))
    clean = [make("kd", seed=seed, tasks=["clean"]) for seed in (0, 1)]
    assert lost(grouped(published, *clean)) == {}
    found = grouped(make("a"), make("c"), published, *clean)
    assert (methods(found), reasons(found)) == (["a", "b", "c", "kd"], {})
    assert lost(found) == {"b": "corruption left out: published corruption images; here they are generated"}


def test_every_record_is_ranked_or_excluded_once() -> None:
    made = [
        make("a"), make("a", seed=1), make("a", seed=1, tasks=FEW), make("b", versions={"pgd": 1}),
        make("c", suite=other_suite(version=9)), make("d", datasets={"digits": digest("edited")}),
    ]  # fmt: skip
    found = grouped(*made)
    ranked = [run.record.run_id for one in found.methods for run in (*one.finished, *one.failed)]
    listed = [one.run_id for one in found.excluded]
    assert sorted(ranked + listed) == sorted(one.record.run_id for one in made)
    assert [run.record.spec.seed for run in found.methods[0].finished] == [0, 1]


def test_a_setting_that_was_changed_by_hand_has_a_group_of_its_own() -> None:
    other, twice = (with_changes(digits(), {"recipe.epochs": epochs}) for epochs in (3, 4))
    groups = group([evidence(make(name, suite=suite, tasks=FEW)) for name, suite in
                    (("a", digits()), ("b", other), ("c", other), ("d", twice))])  # fmt: skip
    assert [(one.suite.label, methods(one), one.installed) for one in groups] == [
        ("digits", ["a"], True),
        ("digits, recipe.epochs=3", ["b", "c"], True),
        ("digits, recipe.epochs=4", ["d"], True),
    ]


def test_a_record_that_changed_more_than_it_says_is_excluded_among_its_likes() -> None:
    said = with_changes(digits(), {"recipe.epochs": 3})
    more = with_changes(digits(), {"recipe.epochs": 3, "recipe.lr": 9.0}).model_copy(update={"changed": said.changed})
    found = grouped(make("honest", suite=said, tasks=FEW), *(make(f"m{i}", suite=more, tasks=FEW) for i in range(3)))
    assert methods(found) == ["honest"]
    assert reasons(found)["m0"].startswith(
        "another suite of this name: conditions.clean.recipe.lr is 9.0; here it is 0.05"
    )


@pytest.mark.parametrize("changed", [{"recipe.epochs": 0}, {"conditions.gone.recipe.lr": 1}, {"x": {"y": [None]}}])
def test_changes_that_the_installed_suite_does_not_allow_break_no_board(changed: dict[str, object]) -> None:
    found = grouped(make("a", suite=other_suite(changed=changed), tasks=FEW))
    assert (methods(found), found.installed) == (["a"], False)
