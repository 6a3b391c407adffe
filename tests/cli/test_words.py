"""What methods set for themselves, in words."""

from __future__ import annotations

from typing import Any

import pytest

from kdbench.cli.words import assigned, recipe_rows


def test_parameters_are_what_the_command_line_takes() -> None:
    assert assigned({"a": None, "b": False, "c": "x", "d": [1, 2]}) == "a=null b=false c=x d=[1, 2]"


@pytest.mark.parametrize(
    ("recipe", "row"),
    [
        ({"params": {"a": 1}}, ("everywhere", "a=1")),
        ({"family": ["arani", "katz"], "optimizer": {"lr": 0.1}}, ("suites of family arani or katz", "lr=0.1")),
        ({"noise": ["any"], "rate": 0.4, "params": {"a": 1}}, ("any noise, rate near 0.4", "a=1")),
        ({"noise": ["unknown"], "params": {"a": 1}}, ("noise of unknown rate", "a=1")),
        ({"model": ["resnet18"], "params": {"a": 1}, "optimizer": {"lr": 2}}, ("network resnet18", "a=1, lr=2")),
        (
            {"when": {"mode": ["x", "y"], "rate": {"min": 0.1, "max": 0.2}}, "extended": {"epochs": 9}},
            ("where mode is x or y, where rate is at least 0.1 and at most 0.2", "epochs=9 (extended budget)"),
        ),
    ],
)
def test_a_recipe_in_words(recipe: dict[str, Any], row: tuple[str, str]) -> None:
    assert recipe_rows([recipe]) == [row]
