"""A suite with values set by hand is another setting: checked like a file, and told from the standard one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.specs import LabelNoise, Suite
from kdbench.suites import builtin_suites, load_suite
from kdbench.suites.changes import with_changes
from kdbench.suites.reading import read_suite


@pytest.fixture
def lite() -> Suite:
    """Its condition clean has 5 epochs, sym-40 has 100 of its own with milestones 50 and 75."""
    return load_suite("cifar10-lite")


def test_a_key_of_the_recipe_is_of_all_conditions(lite: Suite) -> None:
    found = with_changes(lite, {"recipe.lr": 0.3, "recipe.nesterov": False})
    assert {(one.recipe.lr, one.recipe.nesterov) for one in found.conditions.values()} == {(0.3, False)}
    assert found.changed == {"recipe.lr": 0.3, "recipe.nesterov": False}
    assert found.label == "cifar10-lite, recipe.lr=0.3, recipe.nesterov=false"
    rest = ("epochs", "batch_size", "milestones", "schedule")
    for name, condition in lite.conditions.items():
        assert [getattr(found.conditions[name].recipe, key) for key in rest] == [
            getattr(condition.recipe, key) for key in rest
        ]


@pytest.mark.parametrize("order", [1, -1])
def test_a_condition_of_its_own_goes_before_all_whatever_the_order(lite: Suite, order: int) -> None:
    changes = [("recipe.lr", 0.3), ("conditions.clean.recipe.lr", 0.4)][::order]
    found = with_changes(lite, dict(changes))
    assert {name: one.recipe.lr for name, one in found.conditions.items()} == {"clean": 0.4, "sym-40": 0.3}
    assert list(found.changed) == ["conditions.clean.recipe.lr", "recipe.lr"], "one form of the same changes"


@pytest.mark.parametrize(("epochs", "milestones"), [(30, (15, 22)), (240, (120, 180)), (2, (1,)), (1, ())])
def test_milestones_move_with_the_epochs(lite: Suite, epochs: int, milestones: tuple[int, ...]) -> None:
    found = with_changes(lite, {"recipe.epochs": epochs})
    assert [one.recipe.epochs for one in found.conditions.values()] == [epochs] * 2
    assert found.conditions["sym-40"].recipe.milestones == milestones
    assert found.conditions["clean"].recipe.milestones == ()
    stated = with_changes(lite, {"recipe.epochs": 200, "conditions.sym-40.recipe.milestones": [7, 8]})
    assert stated.conditions["sym-40"].recipe.milestones == (7, 8)


def test_other_tables_can_be_changed_too(lite: Suite) -> None:
    found = with_changes(lite, {
        "attack.eps": 0.1, "networks.teacher.seed": 5, "networks.teacher.params.alpha": 1,
        "conditions.clean.noise.rate": 0.2, "conditions.clean.noise": {"kind": "symmetric"},
        "conditions.sym-40.noise": None,
        "conditions.clean.train_size": 500, "tasks.pgd.settings.subset": 9, "tasks.pgd.conditions": ["sym-40"],
    })  # fmt: skip
    assert found.attack is not None and found.attack.eps == 0.1
    assert (found.networks["teacher"].seed, found.networks["teacher"].params) == (5, {"alpha": 1})
    assert found.networks["reference"] == lite.networks["reference"]
    assert found.conditions["clean"].noise == LabelNoise(kind="symmetric", rate=0.2)
    assert (found.conditions["sym-40"].noise, found.conditions["clean"].train_size) == (None, 500)
    assert found.tasks["pgd"].settings == {**lite.tasks["pgd"].settings, "subset": 9}
    assert found.tasks["pgd"].conditions == ("sym-40",)
    assert found.changed["conditions.clean.noise.kind"] == "symmetric", "tables are listed key by key"


def test_the_students_model_may_be_that_of_another_network(lite: Suite) -> None:
    found = with_changes(lite, {"student": "wrn-16-1", "recipe.lr": 0.3})
    assert (found.student, found.changed) == ("wrn-16-1", {"recipe.lr": 0.3, "student": "wrn-16-1"})
    assert found.label == 'cifar10-lite, recipe.lr=0.3, student="wrn-16-1"'
    assert found.networks == lite.networks


def test_names_may_have_dots(tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("[conditions.sym-40]", '[conditions."sym-0.4"]'))
    found = with_changes(read_suite(tiny_suite), {"conditions.sym-0.4.recipe.lr": 0.5})
    assert {name: one.recipe.lr for name, one in found.conditions.items()} == {"clean": 0.03, "sym-0.4": 0.5}
    assert [found.by_hand(name) for name in ("sym-0.4", "clean")] == [frozenset({"lr"}), frozenset()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe.epoch": 3}, r"suite 'cifar10-lite' with recipe\.epoch=3: recipe\.epoch: did you mean epochs \("),
        ({"recipe.epochs": 0}, "epochs: input should be greater than or equal to 1, found 0"),
        ({"recipe.epochs": "x"}, "epochs: input should be a valid integer"),
        ({"recipe.epochs": 0.5}, "epochs: input should be a valid integer"),
        ({"recipe.lr": float("inf")}, "lr: input should be a finite number, found inf"),
        ({"recipe.lr": None}, "lr: input should be a valid number, found None"),
        ({"recipe.lr.x": 1}, "lr: input should be a valid number"),
        ({"recipe.milestones": [99]}, r"milestones \(99,\) must lie inside the 5 epochs"),
        ({"conditions.cleen.recipe.lr": 1}, "no condition named 'cleen' .*did you mean 'clean'"),
        ({"conditions.clean.recipe.learning": 1}, "conditions.clean.recipe.learning: no such key, known: epochs"),
        ({"conditions.clean": 1}, "'conditions.clean' is a table"),
        ({"conditions.clean.": 1}, "conditions.clean.: no such key"),
        ({"conditions.clean.recipe": 1}, "conditions.clean.recipe: expected a table, found 1"),
        ({"conditions.": 1}, "'conditions.' is a table"),
        ({"networks.techer.seed": 1}, "no network named 'techer' .*did you mean 'teacher'"),
        ({"tasks.pgd.subset": 1}, "tasks.pgd.subset: did you mean settings.subset"),
        ({"tasks.peer.settings.subset": 1}, "no task named 'peer' .*did you mean 'peers'"),
        ({"recip.epochs": 3}, "no table of a suite named 'recip' .*did you mean 'recipe'"),
        ({"dataset": "x"}, "no table of a suite named 'dataset'"),
        ({"recipe": 3}, "'recipe' is a table"),
        ({"attack": {"eps": 7}}, "'attack' is a table"),
        ({"attack.eps": 7}, "attack.eps: input should be less than or equal to 1, found 7"),
        ({"tasks.pgd.settings.a b": 1}, "changed.*should match pattern"),
        ({"": 1}, "no table of a suite named ''"),
    ],
)
def test_a_mistake_is_one_line(lite: Suite, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as error:
        with_changes(lite, changes)
    assert "\n" not in str(error.value)


def test_changes_are_given_at_once(lite: Suite) -> None:
    assert with_changes(lite, {}) is lite
    with pytest.raises(KdbenchError, match="is changed already"):
        with_changes(with_changes(lite, {"recipe.lr": 0.3}), {"recipe.epochs": 3})


@pytest.mark.parametrize("epochs", [240, 240.0, "240"])
def test_milestones_move_whatever_way_the_number_is_written(lite: Suite, epochs: object) -> None:
    assert with_changes(lite, {"recipe.epochs": epochs}).conditions["sym-40"].recipe.milestones == (120, 180)


def test_values_are_those_that_json_has(lite: Suite) -> None:
    found = with_changes(lite, {"conditions.sym-40.recipe.milestones": (7, 8)})
    assert Suite.model_validate_json(found.canonical_json()) == found
    with pytest.raises(KdbenchError, match=r"changes of suite 'cifar10-lite': .* not JSON serializable"):
        with_changes(lite, {"recipe.epochs": Path()})


def test_numbers_beyond_all_bounds_are_refused(lite: Suite) -> None:
    """A record's changes are applied to the installed suite, and anybody may write a record."""
    with pytest.raises(KdbenchError, match="epochs: input should be less than or equal to 1000000"):
        with_changes(lite, {"conditions.sym-40.recipe.epochs": 10**400})


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_a_changed_suite_is_another_value_and_a_record_gives_it_back(path: Path) -> None:
    suite = read_suite(path)
    first = next(iter(suite.conditions.values())).recipe
    same = with_changes(suite, {"recipe.lr": first.lr})
    assert same.digest() != suite.digest(), "set by hand it goes before what methods tune, so it is another setting"
    assert '"changed":{"recipe.lr":' in same.canonical_json()
    assert "changed" not in suite.canonical_json(), "hashes of what nobody changed hold"
    assert Suite.model_validate_json(same.canonical_json()) == same
    assert same.family == suite.family
    assert with_changes(suite, same.changed) == same


def test_a_task_that_the_suite_has_not_is_added(lite: Suite) -> None:
    found = with_changes(lite, {"tasks.memorisation.settings.images": 9})
    assert list(found.tasks) == [*lite.tasks, "memorisation"]
    assert found.tasks["memorisation"].settings == {"images": 9}
