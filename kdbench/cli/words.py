"""What methods set for themselves, in words: parameters, and the recipes that tune them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdbench.plugin.parameters import as_assignments
from kdbench.results.wording import words

NOISES = {"none": "no noise", "any": "any noise", "unknown": "noise of unknown rate"}
"""Kinds of label noise in recipes that are no name of one."""


def assigned(values: Mapping[str, Any]) -> str:
    """Parameters as ``--set`` takes them.

    >>> assigned({"pi2": 0.5, "view": "strong", "nesterov": False})
    'pi2=0.5 view=strong nesterov=false'
    """
    return " ".join(as_assignments(values))


def recipe_rows(recipes: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Tuned values of a method: where each recipe holds, and what it sets.

    >>> recipe_rows([{"dataset": ["cifar10"], "noise": ["none", "symmetric"], "params": {"pi2": 0.6}}])
    [('cifar10, no noise or symmetric', 'pi2=0.6')]
    """
    return [(_where(recipe), _sets(recipe)) for recipe in recipes]


def _where(recipe: Mapping[str, Any]) -> str:
    parts = [_either(recipe["family"], "suites of family ")] if "family" in recipe else []
    parts += [_either(recipe["dataset"])] if "dataset" in recipe else []
    parts += [_either(recipe["model"], "network ")] if "model" in recipe else []
    parts += [_either(NOISES.get(kind, kind) for kind in recipe["noise"])] if "noise" in recipe else []
    parts += [f"rate near {words(recipe['rate'])}"] if "rate" in recipe else []
    parts += [f"where {name} is {_allowed(wanted)}" for name, wanted in recipe.get("when", {}).items()]
    return ", ".join(parts) or "everywhere"


def _either(names: Iterable[Any], before: str = "") -> str:
    return before + " or ".join(map(words, names))


def _allowed(wanted: Any) -> str:
    if not isinstance(wanted, Mapping):
        return _either(wanted)
    return " and ".join(f"at {'least' if end == 'min' else 'most'} {words(value)}" for end, value in wanted.items())


def _sets(recipe: Mapping[str, Any]) -> str:
    parts = [assigned(recipe[part]) for part in ("params", "optimizer") if recipe.get(part)]
    parts += [f"{assigned(recipe['extended'])} (extended budget)"] if recipe.get("extended") else []
    return ", ".join(parts)
