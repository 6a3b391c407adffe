"""The tuned values of NRD and its baselines are those of Shon et al. 2024, Table 5, printed here as they are there."""

from __future__ import annotations

from typing import Any

import pytest

from kdbench.methods.recipes import Setting
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Condition, LabelNoise, Recipe

RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)
SUITES = {"cifar10": "nrd-cifar10", "cifar100": "nrd-cifar100"}
NAMES = {
    "BS": ("bootstrap-soft", ("beta",)),
    "LS": ("label-smoothing", ("epsilon",)),
    "SCE": ("sce", ("alpha", "beta")),
    "GCE": ("gce", ("q",)),
    "NCE+RCE": ("nce-rce", ("alpha", "beta")),
    "JS": ("js", ("pi1",)),
    "GJS": ("gjs", ("pi1",)),
    "NRD": ("nrd", ("pi2",)),
}
BASELINES = [name for name, _ in NAMES.values() if name != "nrd"]
# Learning rate and weight decay for symmetric or no noise, then for asymmetric noise; the parameters without noise, for
# symmetric noise of 20, 40, 60 and 80 %, for asymmetric noise of 20 and 40 %.
TABLE = {
    "cifar10": """
        BS      .1,1e-3   .1,1e-3    .5     .5 .7 .7 .9                 .7 .5
        LS      .1,5e-4   .1,1e-3    .1     .5 .9 .7 .1                 .1 .1
        SCE     .01,5e-4  .05,1e-3   .2,.1  .05,.1 .1,.1 .2,1 .1,1      .1,.1 .2,1
        GCE     .01,5e-4  .1,1e-3    .5     .7 .7 .7 .9                 .1 .1
        NCE+RCE .005,1e-3 .05,1e-4   10,.1  10,.1 10,.1 1,.1 10,1       10,.1 1,.1
        JS      .01,5e-4  .1,1e-3    .1     .7 .7 .9 .9                 .3 .3
        GJS     .1,5e-4   .1,1e-3    .5     .3 .9 .1 .1                 .3 .3
        NRD     .1,5e-4   .1,1e-3    .6     .6 .6 .5 .5                 .8 .7
    """,
    "cifar100": """
        BS      .4,1e-4   .4,1e-4    .7     .5 .5 .5 .9                 .3 .3
        LS      .2,5e-5   .4,1e-4    .1     .7 .7 .7 .9                 .5 .7
        SCE     .2,1e-4   .4,5e-5    .1,.1  .1,.1 .1,.1 .1,1 .1,.1      .1,1 .1,1
        GCE     .4,1e-5   .2,1e-4    .5     .5 .5 .7 .7                 .7 .7
        NCE+RCE .2,5e-5   .2,5e-5    20,.1  20,.1 20,.1 20,.1 20,.1     20,.1 10,.1
        JS      .2,1e-4   .1,1e-4    .1     .1 .3 .5 .3                 .5 .5
        GJS     .2,5e-5   .4,1e-4    .3     .3 .5 .9 .1                 .5 .1
        NRD     .2,5e-5   .4,1e-4    .6     .6 .6 .6 .7                 .5 .2
    """,
}
ROWS = [(dataset, *line.split()) for dataset, table in TABLE.items() for line in table.strip().splitlines()]
ASYMMETRIC = {"cifar10": ("asymmetric-cifar10", "asymmetric-cifar10-gjs"), "cifar100": ("asymmetric-cifar100",)}


def resolved(
    name: str, suite: str, dataset: str, kind: str | None = None, rate: float = 0.0
) -> tuple[dict[str, Any], dict[str, Any]]:
    condition = Condition(recipe=RECIPE, noise=LabelNoise(kind=kind, rate=rate) if kind else None)
    spec = load_plugins().methods.get(name)
    found = spec.resolve({}, Setting(suite, dataset, "preact34-gjs", condition))
    return found.params, found.tuned


def numbers(cell: str) -> tuple[float, ...]:
    return tuple(float(number) for number in cell.split(","))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_values_are_the_papers_table(row: tuple[str, ...]) -> None:
    dataset, printed, symmetric, asymmetric, clean, *cells = row
    name, keys = NAMES[printed]
    conditions: list[tuple[str | None, float, str, str]] = [(None, 0.0, clean, symmetric)]
    for rate, cell in zip((0.2, 0.4, 0.6, 0.8), cells[:4], strict=True):
        conditions += [(kind, rate, cell, symmetric) for kind in ("symmetric", "symmetric-inclusive")]
    for rate, cell in zip((0.2, 0.4), cells[4:], strict=True):
        conditions += [(kind, rate, cell, asymmetric) for kind in ASYMMETRIC[dataset]]
    for kind, rate, cell, tuned in conditions:
        params, optimizer = resolved(name, SUITES[dataset], dataset, kind, rate)
        assert tuple(params[key] for key in keys) == numbers(cell), (kind, rate)
        assert (optimizer["lr"], optimizer["weight_decay"]) == numbers(tuned), (kind, rate)
        assert params.get("view", "strong") == "strong"  # nrd has no other


@pytest.mark.parametrize(
    ("dataset", "symmetric", "asymmetric"),
    [("cifar10", (0.05, 1e-3), (0.1, 1e-3)), ("cifar100", (0.4, 1e-4), (0.2, 1e-4))],
)
def test_ce_has_the_tables_learning_rates_and_no_parameter(
    dataset: str, symmetric: tuple[float, float], asymmetric: tuple[float, float]
) -> None:
    noises = [
        (None, symmetric),
        ("symmetric-inclusive", symmetric),
        *((kind, asymmetric) for kind in ASYMMETRIC[dataset]),
    ]
    for kind, (lr, weight_decay) in noises:
        found = resolved("ce", SUITES[dataset], dataset, kind, 0.4)
        assert found == ({"view": "strong"}, {"lr": lr, "weight_decay": weight_decay})
        assert resolved("ce", "mine", dataset, kind, 0.4) == ({"view": "suite"}, {})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_elsewhere_the_parameters_go_with_the_data_and_the_recipe_stays_the_suites(row: tuple[str, ...]) -> None:
    dataset, printed, *_, clean = row[:5]
    name, keys = NAMES[printed]
    params, optimizer = resolved(name, "mine", dataset)
    assert tuple(params[key] for key in keys) == numbers(clean)
    assert params.get("view", "suite") == ("strong" if name == "nrd" else "suite")
    assert optimizer == {}
    declared = load_plugins().methods.get(name).validate({})
    assert resolved(name, "mine", "digits") == (declared, {})
    assert resolved(name, "mine", dataset, "pair-flip", 0.4) == (declared, {})


@pytest.mark.parametrize("name", ["ce", "confidence-penalty", "bootstrap-hard", "mae", *BASELINES])
@pytest.mark.parametrize("suite", ["nrd-cifar10", "nrd-cifar100"])
def test_every_baseline_sees_the_strong_view_where_the_table_was_made(name: str, suite: str) -> None:
    for kind, rate in ((None, 0.0), ("symmetric-inclusive", 0.4), ("pair-flip", 0.4)):
        assert resolved(name, suite, suite.removeprefix("nrd-"), kind, rate)[0]["view"] == "strong"


def test_what_is_passed_goes_before_recipes() -> None:
    condition = Condition(recipe=RECIPE)
    spec = load_plugins().methods.get("gce")
    where = Setting("nrd-cifar10", "cifar10", "preact34-gjs", condition)
    assert spec.resolve({"q": 0.2, "view": "suite"}, where).params == {"q": 0.2, "view": "suite"}
