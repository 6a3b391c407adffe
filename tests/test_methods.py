from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods import matching_recipe
from kdbench.specs import Condition, LabelNoise, Recipe

RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)
CLEAN = Condition(recipe=RECIPE)


def noisy(kind: str, rate: float) -> Condition:
    return Condition(recipe=RECIPE, noise=LabelNoise(kind=kind, rate=rate))


@kdbench.method("probe", needs={"teacher"})
def probe(
    batch: kdbench.Batch, ctx: kdbench.Context, *, share: Annotated[float, Field(ge=0, le=1)] = 0.5, mode: str = "a"
) -> Tensor:
    """First line.

    More.
    """
    return batch.images.sum() * share


def test_decorator_reads_name_summary_needs_and_parameters() -> None:
    assert (probe.name, probe.summary, probe.needs) == ("probe", "First line.", frozenset({"teacher"}))
    assert probe.validate({}) == {"share": 0.5, "mode": "a"}
    assert len(probe.source) == 64


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shar": 1}, "no parameter named 'shar' .did you mean 'share'"),
        ({"share": 1.5}, "parameter share: input should be less than or equal to 1, found 1.5"),
        ({"share": "much"}, "parameter share: input should be a valid number.*found 'much'"),
        ({"share": float("nan")}, "parameter share: input should be a finite number"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        probe.validate(params)


def test_parameters_need_type_and_default() -> None:
    with pytest.raises(KdbenchError, match="parameter 'x' has no type or no default"):
        kdbench.method("bad")(lambda batch, ctx, *, x: x)


def test_a_class_must_be_a_method() -> None:
    class NoMethod:
        """Not derived."""

        def __init__(self, *, x: int = 1) -> None:
            self.x = x

    spec = kdbench.method("no-method")(NoMethod)
    with pytest.raises(KdbenchError, match="'no-method' is not a kdbench.Method"):
        spec.make({"x": 1})


RECIPES: list[dict[str, Any]] = [
    {"dataset": ["cifar10"], "params": {"pi2": 0.1}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.2, "params": {"pi2": 0.2}},
    {"dataset": ["cifar10"], "noise": ["symmetric"], "rate": 0.8, "params": {"pi2": 0.8}},
    {"suite": ["special"], "optimizer": {"lr": 3.0}},
]


@pytest.mark.parametrize(
    ("suite", "dataset", "condition", "params", "optimizer"),
    [
        ("s", "cifar10", CLEAN, {"pi2": 0.1}, {}),
        ("s", "cifar10", noisy("symmetric", 0.2), {"pi2": 0.2}, {}),
        ("s", "cifar10", noisy("symmetric", 0.6), {"pi2": 0.8}, {}),
        ("s", "cifar10", noisy("pair-flip", 0.2), {"pi2": 0.1}, {}),
        ("special", "digits", CLEAN, {}, {"lr": 3.0}),
    ],
)
def test_recipes_match_by_suite_dataset_noise_and_nearest_rate(
    suite: str, dataset: str, condition: Condition, params: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    found = matching_recipe(RECIPES, suite=suite, dataset=dataset, condition=condition)
    assert found == {"params": params, "optimizer": optimizer}


def test_what_the_user_passes_wins_over_recipes(tmp_path: Path) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text('[[probe2]]\ndataset = ["digits"]\nparams = { share = 0.25 }\noptimizer = { lr = 0.7 }\n')

    @kdbench.method("probe2", recipes=file)
    def probe2(batch: kdbench.Batch, ctx: kdbench.Context, *, share: float = 0.5) -> Tensor:
        return batch.images.sum()

    where = {"suite": "s", "dataset": "digits", "condition": CLEAN}
    assert probe2.resolve({}, **where) == ({"share": 0.25}, {"lr": 0.7})
    assert probe2.resolve({"share": 0.75}, **where) == ({"share": 0.75}, {"lr": 0.7})


def test_a_recipe_may_not_touch_what_is_the_suites(tmp_path: Path) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text("[[greedy]]\noptimizer = { epochs = 900 }\n")
    with pytest.raises(KdbenchError, match=r"recipes may not set \['epochs'\]"):
        kdbench.method("greedy", recipes=file)(lambda batch, ctx: None)
