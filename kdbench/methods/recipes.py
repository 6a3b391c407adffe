"""Tuned values as data: what a method's ``recipes.toml`` may say, and which of it holds for a condition."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.specs import Condition

TUNABLE = ("lr", "weight_decay", "momentum", "nesterov", "schedule", "gamma")
"""What a method may tune of a suite's recipe: how fast it learns, and how that falls. Epochs, batch size, data and
checkpoint rule stay the suite's."""
EXTENDED = ("epochs", "milestones")
"""What an ``extended`` table may set: a longer schedule than the suite grants, which the record states."""
_KEYS = ("suite", "dataset", "noise", "rate", "when", "params", "optimizer", "extended")


def read_recipes(name: str, path: Path | None) -> tuple[Mapping[str, Any], ...]:
    """Read the recipes of method ``name``, refusing what a method may not decide."""
    if path is None:
        return ()
    try:
        recipes = tomllib.loads(path.read_text(encoding="utf-8")).get(name, [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise KdbenchError(f"method '{name}': recipes file {path}: {error}", "fix it or leave it out") from None
    for recipe in recipes:
        _check(name, recipe)
    return tuple(recipes)


def _check(name: str, recipe: Mapping[str, Any]) -> None:
    extended = recipe.get("extended", {})
    stray = set(recipe) - set(_KEYS) | set(recipe.get("optimizer", {})) - set(TUNABLE) | set(extended) - set(EXTENDED)
    if stray:
        raise KdbenchError(
            f"method '{name}': recipes may not set {sorted(stray)}",
            f"allowed: {', '.join(_KEYS)}; optimizer: {', '.join(TUNABLE)}; extended: {', '.join(EXTENDED)}",
        )
    if extended and "epochs" not in extended:
        raise KdbenchError(f"method '{name}': an extended recipe states no epochs", "write epochs = 300")
    if "when" in recipe and "params" in recipe:
        raise KdbenchError(
            f"method '{name}': a recipe that depends on parameters (when) sets some (params)", "leave one of them out"
        )


def matching_recipe(
    recipes: Iterable[Mapping[str, Any]],
    *,
    suite: str,
    dataset: str,
    condition: Condition,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Merge the recipes whose ``suite``, ``dataset`` and ``noise`` lists admit this condition, later ones winning.

    A condition without label noise has noise "none", one whose labels are wrong as they come "unknown"; "any" is each
    but "none". Among those that also state a noise ``rate`` only the nearest rate counts. Recipes with ``when``, which
    lists values of parameters or their range, are merged only where ``params``, the resolved ones, are given and agree.
    Returns ``{"params": ..., "optimizer": ..., "extended": ...}``.
    """
    without = "unknown" if condition.noise_unknown else "none"
    kind, rate = (condition.noise.kind, condition.noise.rate) if condition.noise else (without, 0.0)
    facts = {"suite": {suite}, "dataset": {dataset}, "noise": {kind} if kind == "none" else {kind, "any"}}
    admitted = [
        recipe
        for recipe in recipes
        if all(fact.intersection(recipe[key]) for key, fact in facts.items() if key in recipe)
        and ("when" not in recipe or (params is not None and _agrees(recipe["when"], params)))
    ]
    rates = [recipe["rate"] for recipe in admitted if "rate" in recipe]
    nearest = min(rates, key=lambda stated: abs(stated - rate), default=None)
    merged: dict[str, Any] = {"params": {}, "optimizer": {}, "extended": {}}
    for recipe in admitted:
        if "rate" not in recipe or recipe["rate"] == nearest:
            for part, values in merged.items():
                values.update(recipe.get(part, {}))
    return merged


def _agrees(when: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return all(_holds(params.get(name), wanted) for name, wanted in when.items())


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        low, high = wanted.get("min", float("-inf")), wanted.get("max", float("inf"))
        return isinstance(value, int | float) and bool(low <= value <= high)
    return value in wanted
