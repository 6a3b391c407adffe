from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods.method import Resolved
from kdbench.methods.recipes import Setting, matching_recipes, merged
from kdbench.plugin.loader import load_plugins
from kdbench.running.needs import Needs
from kdbench.running.plan import Plan
from kdbench.specs import Condition, LabelNoise, Recipe
from kdbench.suites import FOLDER, builtin_suites, load_suite
from kdbench.suites.reading import read_suite

RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)
CLEAN = Condition(recipe=RECIPE)


def noisy(kind: str, rate: float | None) -> Condition:
    return Condition(recipe=RECIPE, noise=LabelNoise(kind=kind, rate=rate))


RECIPES: list[dict[str, Any]] = [
    {"dataset": ["cifar10"], "params": {"pi2": 0.1}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.2, "params": {"pi2": 0.2}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.8, "params": {"pi2": 0.8}},
    {"dataset": ["web"], "noise": ["none"], "params": {"pi2": 0.6}},
    {"dataset": ["web"], "noise": ["unknown"], "params": {"pi2": 0.7}},
    {"dataset": ["heat"], "noise": ["any"], "params": {"pi2": 0.9}},
    {"family": ["special"], "optimizer": {"lr": 3.0}},
    {"family": ["special"], "model": ["wide"], "optimizer": {"lr": 4.0}},
]


@pytest.mark.parametrize(
    ("family", "dataset", "condition", "params", "optimizer"),
    [
        ("s", "cifar10", CLEAN, {"pi2": 0.1}, {}),
        ("s", "cifar10", noisy("symmetric", 0.2), {"pi2": 0.2}, {}),
        ("s", "cifar10", noisy("symmetric", 0.6), {"pi2": 0.8}, {}),
        ("s", "cifar10", noisy("pair-flip", 0.2), {"pi2": 0.1}, {}),
        ("s", "web", Condition(recipe=RECIPE, noise_unknown=True), {"pi2": 0.7}, {}),
        ("s", "web", CLEAN, {"pi2": 0.6}, {}),
        ("s", "heat", noisy("heat", 0.2), {"pi2": 0.9}, {}),
        ("s", "heat", Condition(recipe=RECIPE, noise_unknown=True), {"pi2": 0.9}, {}),
        ("s", "heat", CLEAN, {}, {}),
        ("s", "heat", noisy("cifar10n-worse", None), {"pi2": 0.9}, {}),
        ("s", "cifar10", noisy("symmetric", None), {"pi2": 0.1}, {}),
        ("special", "digits", CLEAN, {}, {"lr": 3.0}),
    ],
)
def test_recipes_match_by_family_dataset_noise_and_nearest_rate(
    family: str, dataset: str, condition: Condition, params: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    found = matching_recipes(RECIPES, Setting(family, dataset, "narrow", condition))
    assert merged(found) == {"params": params, "optimizer": optimizer, "extended": {}}
    assert bool(found) == bool(params or optimizer)


def test_recipes_match_by_the_network_that_is_trained() -> None:
    for model, lr in (("narrow", 3.0), ("wide", 4.0)):
        assert merged(matching_recipes(RECIPES, Setting("special", "digits", model, CLEAN)))["optimizer"] == {"lr": lr}


def test_what_the_user_passes_wins_over_recipes(tmp_path: Path) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text('[[probe2]]\ndataset = ["digits"]\nparams = { share = 0.25 }\noptimizer = { lr = 0.7 }\n')

    @kdbench.method("probe2", recipes=file)
    def probe2(batch: kdbench.Batch, ctx: kdbench.Context, *, share: float = 0.5) -> Tensor:
        return batch.images.sum()

    where = Setting("s", "digits", "m", CLEAN)
    assert probe2.resolve({}, where) == Resolved({"share": 0.25}, {"lr": 0.7}, untuned=False)
    assert probe2.resolve({"share": 0.75}, where) == Resolved({"share": 0.75}, {"lr": 0.7}, untuned=False)
    assert probe2.resolve({}, Setting("s", "cifar10", "m", CLEAN)) == Resolved({"share": 0.5}, {}, untuned=True)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("optimizer = { epochs = 900 }", r"recipes may not set \['epochs'\]"),
        ("extended = { epochs = 900, batch_size = 1 }", r"recipes may not set \['batch_size'\]"),
        ("extended = { milestones = [3] }", "an extended recipe states no epochs"),
        ('suite = ["nrd-cifar10"]', r"recipes may not set \['suite'\]"),
        ("when = { p = [1] }\nparams = { p = 2 }", "depends on parameters .when. sets some"),
    ],
)
def test_a_recipe_may_not_touch_what_is_the_suites(tmp_path: Path, recipe: str, message: str) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text(f"[[greedy]]\n{recipe}\n")
    with pytest.raises(KdbenchError, match=message):
        kdbench.method("greedy", recipes=file)(lambda batch, ctx: None)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"p": 0.1}, {"epochs": 250}),
        ({"p": 0.2}, {"epochs": 250}),
        ({"p": 0.25}, {}),
        ({"p": 0.4}, {"epochs": 350, "milestones": [1, 2]}),
        ({"p": 0.4, "schedule": "suite"}, {}),
    ],
)
def test_a_longer_schedule_may_depend_on_resolved_parameters(
    tmp_path: Path, params: dict[str, Any], expected: dict[str, Any]
) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text(
        "[[probe3]]\nwhen = { p = { min = 0.01, max = 0.2 } }\nextended = { epochs = 250 }\n"
        '[[probe3]]\nwhen = { p = { min = 0.3 }, schedule = ["own", "paper"] }\n'
        "extended = { epochs = 350, milestones = [1, 2] }\n"
    )

    @kdbench.method("probe3", recipes=file)
    def probe3(batch: kdbench.Batch, ctx: kdbench.Context, *, p: float = 0.0, schedule: str = "own") -> Tensor:
        return batch.images.sum()

    resolved = probe3.resolve(params, Setting("s", "digits", "m", CLEAN))
    assert (resolved.tuned, resolved.untuned) == (expected, not expected)


def test_a_method_without_recipes_misses_none() -> None:
    plain = kdbench.method("plain")(lambda batch, ctx: None)
    assert not plain.resolve({}, Setting("s", "digits", "m", CLEAN)).untuned


def test_a_copied_suite_with_one_more_condition_loses_nothing(tmp_path: Path) -> None:
    """It lost learning rates, weight decays and the strong view of each method, without a word."""
    original = load_suite("nrd-cifar10")
    copy = tmp_path / "mine.toml"
    more = '\n[conditions.sym-30]\nnoise = { kind = "symmetric-inclusive", rate = 0.3, seed = 0 }\n'
    copy.write_text((FOLDER / "nrd-cifar10.toml").read_text().replace('name = "nrd-cifar10"', 'name = "mine"') + more)
    copied, plugins = read_suite(copy), load_plugins()
    for name in ("ce", "gce", "nrd", "dmi"):
        for condition in original.conditions:
            expected, found = (Needs(suite, plugins, condition).student(name, {}, 0) for suite in (original, copied))
            assert (found.params, found.recipe, found.untuned) == (expected.params, expected.recipe, False)
        nearest = Needs(original, plugins, "sym-40").student(name, {}, 0)
        assert Needs(copied, plugins, "sym-30").student(name, {}, 0).recipe == nearest.recipe
    foreign = copied.model_copy(update={"family": "mine"})
    assert Needs(foreign, plugins, "clean").student("ce", {}, 0).untuned
    others = ", ".join(name for name in original.conditions if name != "clean")
    assert Plan.make(foreign, plugins, "ce", {}, None, None).notes() == [
        "note: no recipe of method 'ce' is for family 'mine', data set 'cifar10' and model 'preact34-gjs' under clean, "
        f"{others}, sym-30: declared defaults and the suite's own optimiser values are used"
    ]
    assert Plan.make(copied, plugins, "ce", {}, None, None).notes() == []
    assert Plan.make(foreign, plugins, "kd", {}, None, None).notes() == [], "it has no recipes"


def test_a_run_without_a_recipe_says_so_whoever_asks(
    tiny_suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for times in (1, 2):  # a run that is found again says it too
        kdbench.run(str(tiny_suite), "ce", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs")
        assert [record.message[:46] for record in caplog.records] == times * [
            "note: no recipe of method 'ce' is for family '"
        ]
    caplog.clear()
    kdbench.run(str(tiny_suite), "target-variability", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs")
    assert not caplog.records, "it has no recipes"


def test_every_family_dataset_and_model_of_a_first_party_recipe_is_one_of_ours() -> None:
    """A misspelt one would never match."""
    plugins = load_plugins()
    known = {
        "family": {load_suite(path.stem).family for path in builtin_suites()},
        "dataset": set(plugins.datasets),
        "model": set(plugins.models),
        "noise": {"none", "unknown", "any", *plugins.label_noises},
    }
    for spec in (plugins.methods.get(name) for name in plugins.methods):
        for recipe in spec.recipes:
            for key, values in known.items():
                assert set(recipe.get(key, ())) <= values, (spec.name, recipe)
