"""What is wrong in a suite file is one line that names the key and the right one."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.specs import Spec
from kdbench.suites import builtin_suites
from kdbench.suites.reading import TABLES, keys, read_suite, suite_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 3", "epochs = 0"), r"toml: recipe\.epochs: input should be greater than or equal to 1, found 0 "),
        (("rate = 0.4", "rate = 1.4"), r"noise\.rate: input should be less than or equal to 1, found 1\.4"),
        (("batch_size = 20\n", ""), r"toml: recipe\.batch_size: field required"),
        (('conditions = ["clean"]', 'conditions = ["dirty"]'), "task pgd names conditions the suite has not"),
        (("name = ", "name "), "is not TOML"),
        (("augmentation = ", 'schedule = "steps"\nmilestones = [9]\naugmentation = '), "must lie inside the 3 epochs"),
        (("augmentation = ", 'milestones = ["x"]\naugmentation = '), r"toml: recipe\.milestones\.0: .*, found 'x'"),
        (("train_size = 200", "recipe = { milestones = [1.5] }"), r"toml: conditions\.clean\.recipe\.milestones\.0: "),
        (("lr = 0.03", "lr = inf"), r"recipe\.lr: input should be a finite number, found inf"),
        (("version = 1", "version = 1.5"), "version: input should be a valid integer"),
    ],
)
def test_a_value_out_of_range_is_named_where_it_stands(tiny_suite: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in tiny_suite.read_text()
    tiny_suite.write_text(tiny_suite.read_text().replace(*change, 1))
    with pytest.raises(KdbenchError, match=message):
        read_suite(tiny_suite)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("epochs = 3", "epoch = 3"), "recipe.epoch: did you mean epochs"),
        (("batch_size", "batchsize"), "recipe.batchsize: did you mean batch_size"),
        (("student", "studnet"), "studnet: did you mean student"),
        (("[recipe]", "[recipes]"), "recipes: did you mean recipe"),
        (("[conditions.clean]", "[condition.clean]"), "condition: did you mean conditions"),
        (("rate = 0.4", "rates = 0.4"), "conditions.sym-40.noise.rates: did you mean rate"),
        (("train_size = 200", "recipe = { epohs = 2 }"), "conditions.clean.recipe.epohs: did you mean epochs"),
        (("seed = 1000", "sede = 1000"), "networks.teacher.sede: did you mean seed"),
        (("[recipe]", "[attack]\nepss = 0.1\n[recipe]"), "attack.epss: did you mean eps"),
        (("[tasks.pgd]", "[tasks.pgd]\ncondition = []"), "tasks.pgd.condition: did you mean conditions"),
        (("version = 1", "version = 1\nepochs = 3"), "epochs: belongs to [recipe]"),
        (("train_size = 200", "lr = 0.1"), "conditions.clean.lr: belongs to [recipe]"),
        (("seed = 1000", 'seed = 1000\nview = "suite"'), "networks.teacher.view: belongs to the top of the file"),
        (("train_size = 200", 'kind = "symmetric"'), "conditions.clean.kind: belongs to [conditions.NAME.noise]"),
        (("[tasks.clean]", "[tasks.clean]\ntop5 = true"), "tasks.clean.top5: did you mean settings.top5"),
        (("version = 1", "version = 1\nqqq = 1"), "qqq: no such key, known: name, family, version, title, why"),
        (("version = 1", 'version = 1\nchanged = { "recipe.lr" = 1 }'), "changed: no such key"),
        (("noise = {", "nois = 3\nnoise = {"), "conditions.sym-40.nois: did you mean noise"),
        (("noise = {", 'noise = "symmetric" # {'), "conditions.sym-40.noise: expected a table, found 'symmetric'"),
        (("version = 1", "version = 1\nattack = 0.1"), "attack: expected a table, found 0.1"),
    ],
)
def test_an_unknown_key_is_named_with_the_right_one(tiny_suite: Path, change: tuple[str, str], problem: str) -> None:
    assert change[0] in tiny_suite.read_text()
    tiny_suite.write_text(tiny_suite.read_text().replace(*change, 1))
    with pytest.raises(KdbenchError) as error:
        read_suite(tiny_suite)
    assert error.value.message.startswith(f"suite file {tiny_suite}")
    assert problem in error.value.message
    assert "\n" not in str(error.value)


def test_all_unknown_keys_are_named_at_once(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("epochs", "epoch").replace("rate =", "rates =")
    tiny_suite.write_text(text)
    with pytest.raises(KdbenchError, match=r"recipe\.epoch: did you mean epochs; conditions\.sym-40\.noise\.rates: "):
        read_suite(tiny_suite)


@pytest.mark.parametrize("name", ["recipe", "attack", "networks", "conditions", "tasks"])
@pytest.mark.parametrize("value", [3, "x", [], [{}], {"a": 3}, {"a": []}, {"clean": {"noise": 1, "recipe": 2}}, {}])
def test_what_is_no_table_is_refused_and_nothing_breaks(tiny_suite: Path, name: str, value: Any) -> None:
    raw = {"name": "a", "version": 1, "title": "t", "why": "w", "dataset": "digits", "student": "wrn-10-1", "tasks": {}}
    raw |= {"conditions": {"clean": {"recipe": {"epochs": 1, "batch_size": 1, "lr": 1.0}}}}
    assert suite_of(raw, "it").tasks == {}
    if value == {} and name in ("recipe", "networks", "tasks"):
        suite_of({**raw, name: value}, "it")
        return
    with pytest.raises(KdbenchError, match=f"^it: .*{name}"):
        suite_of({**raw, name: value}, "it")


def test_every_table_that_a_suite_has_is_looked_through() -> None:
    """A specification that is added below ``Suite`` needs its line in ``TABLES``, or nobody looks up its keys."""
    found: dict[str, type[Spec]] = {"recipe": TABLES["recipe"]}

    def walk(spec: type[Spec], path: str) -> None:
        found[path] = spec
        for name, field in spec.model_fields.items():
            place = ".".join(filter(None, [path, name]))
            for part in (field.annotation, *typing.get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, Spec):
                    walk(part, f"{place}.*" if typing.get_origin(field.annotation) is dict else place)

    walk(TABLES[""], "")
    assert found == dict(TABLES)
    assert "changed" not in keys("") and "recipe" in keys("")


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_a_suite_is_the_same_read_from_its_own_values(path: Path) -> None:
    suite = read_suite(path)
    assert suite_of(suite.model_dump(mode="json"), "it") == suite
