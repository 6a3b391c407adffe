from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods.recipes import matching_recipe
from kdbench.specs import Condition, LabelNoise, Recipe

RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)
CLEAN = Condition(recipe=RECIPE)


def noisy(kind: str, rate: float) -> Condition:
    return Condition(recipe=RECIPE, noise=LabelNoise(kind=kind, rate=rate))


RECIPES: list[dict[str, Any]] = [
    {"dataset": ["cifar10"], "params": {"pi2": 0.1}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.2, "params": {"pi2": 0.2}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.8, "params": {"pi2": 0.8}},
    {"dataset": ["web"], "noise": ["none"], "params": {"pi2": 0.6}},
    {"dataset": ["web"], "noise": ["unknown"], "params": {"pi2": 0.7}},
    {"dataset": ["heat"], "noise": ["any"], "params": {"pi2": 0.9}},
    {"suite": ["special"], "optimizer": {"lr": 3.0}},
]


@pytest.mark.parametrize(
    ("suite", "dataset", "condition", "params", "optimizer"),
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
        ("special", "digits", CLEAN, {}, {"lr": 3.0}),
    ],
)
def test_recipes_match_by_suite_dataset_noise_and_nearest_rate(
    suite: str, dataset: str, condition: Condition, params: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    found = matching_recipe(RECIPES, suite=suite, dataset=dataset, condition=condition)
    assert found == {"params": params, "optimizer": optimizer, "extended": {}}


def test_what_the_user_passes_wins_over_recipes(tmp_path: Path) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text('[[probe2]]\ndataset = ["digits"]\nparams = { share = 0.25 }\noptimizer = { lr = 0.7 }\n')

    @kdbench.method("probe2", recipes=file)
    def probe2(batch: kdbench.Batch, ctx: kdbench.Context, *, share: float = 0.5) -> Tensor:
        return batch.images.sum()

    where = {"suite": "s", "dataset": "digits", "condition": CLEAN}
    assert probe2.resolve({}, **where) == ({"share": 0.25}, {"lr": 0.7})
    assert probe2.resolve({"share": 0.75}, **where) == ({"share": 0.75}, {"lr": 0.7})


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("optimizer = { epochs = 900 }", r"recipes may not set \['epochs'\]"),
        ("extended = { epochs = 900, batch_size = 1 }", r"recipes may not set \['batch_size'\]"),
        ("extended = { milestones = [3] }", "an extended recipe states no epochs"),
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

    assert probe3.resolve(params, suite="s", dataset="digits", condition=CLEAN)[1] == expected
