"""On what terms the sides of a comparison were measured."""

from __future__ import annotations

from typing import Any

import pytest

from kdbench.claims.terms import Terms, unequal
from kdbench.plugin.loader import load_plugins
from tests.leaderboard.evidence import make


def terms(name: str, **changed: Any) -> Terms:
    values: dict[str, Any] = {"method": name, "view": "suite", "epochs": 10, "measured": {}}
    return Terms(name, **{**values, **changed})


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        ({}, {}, []),
        ({"view": "strong"}, {}, ["unequal views: a sees 'strong', b sees 'suite'"]),
        ({"view": "strong"}, {"view": "strong"}, []),
        ({"view": "own"}, {"view": "own"}, ["unequal views: a sees 'own', b sees 'own'"]),
        ({"view": "own", "method": "m"}, {"view": "own", "method": "m"}, []),
        ({"epochs": 350}, {"epochs": 200}, ["unequal epochs: a has 350, b has 200"]),
        (
            {"measured": {"evaluate": "ensemble"}},
            {"measured": {"evaluate": "student"}},
            ["unequal evaluate: a is measured with ensemble, b with student"],
        ),
        ({"measured": {"evaluate": "student"}}, {}, []),
        (
            {"view": "strong", "epochs": 1},
            {"epochs": 2},
            ["unequal views: a sees 'strong', b sees 'suite'", "unequal epochs: a has 1, b has 2"],
        ),
    ],
)
def test_what_differs_beside_the_method_is_named(
    first: dict[str, Any], second: dict[str, Any], lines: list[str]
) -> None:
    assert unequal(terms("a", **first), terms("b", **second)) == lines


def test_a_runs_terms_are_those_it_was_trained_and_measured_with() -> None:
    record = make("nrd", params={"view": "suite", "evaluated": "ema"}).record
    found = Terms.of("nrd", record, "sym-40", load_plugins().methods.get("nrd"))
    assert found == Terms("nrd", "nrd", "suite", 30, {"evaluated": "ema"})
    assert Terms.of("kd", make("kd").record, "clean", load_plugins().methods.get("kd")) == terms("kd", epochs=15)
