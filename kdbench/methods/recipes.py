"""Tuned values as data: what a method's ``recipes.toml`` may say, and which of it holds for a condition."""

from __future__ import annotations

import dataclasses
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
_KEYS = ("family", "dataset", "model", "noise", "rate", "when", "params", "optimizer", "extended")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a recipe is chosen by: what a suite is, not what it is called."""

    family: str
    """``Suite.family``."""
    dataset: str
    model: str
    """Architecture of the network that is trained: the student's, or that of a network which a method needs."""
    condition: Condition

    @property
    def noise(self) -> tuple[str, float | None]:
        """Kind, and rate where it has one: without label noise "none", with labels that are wrong as they come
        "unknown"."""
        if self.condition.noise:
            return self.condition.noise.kind, self.condition.noise.rate
        return "unknown" if self.condition.noise_unknown else "none", 0.0


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


def matching_recipes(
    recipes: Iterable[Mapping[str, Any]], setting: Setting, params: Mapping[str, Any] | None = None
) -> list[Mapping[str, Any]]:
    """The recipes whose lists of ``family``, ``dataset``, ``model`` and ``noise`` admit a setting.

    A condition without label noise has noise "none", one whose labels are wrong as they come "unknown"; "any" is each
    but "none". Among those that also state a noise ``rate`` only the nearest rate counts, and none where the noise has
    no rate. Recipes with ``when``, which lists values of parameters or their range, match only where ``params``, the
    resolved ones, are given and agree.
    """
    kind, rate = setting.noise
    facts = {
        "family": {setting.family}, "dataset": {setting.dataset}, "model": {setting.model},
        "noise": {kind} if kind == "none" else {kind, "any"},
    }  # fmt: skip
    admitted = [
        recipe
        for recipe in recipes
        if all(fact.intersection(recipe[key]) for key, fact in facts.items() if key in recipe)
        and ("when" not in recipe or (params is not None and _agrees(recipe["when"], params)))
    ]
    rates = [recipe["rate"] for recipe in admitted if "rate" in recipe]
    nearest = None if rate is None else min(rates, key=lambda stated: abs(stated - rate), default=None)
    return [recipe for recipe in admitted if recipe.get("rate", nearest) == nearest]


def merged(recipes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What recipes say together, later ones winning: ``{"params": ..., "optimizer": ..., "extended": ...}``."""
    values: dict[str, dict[str, Any]] = {"params": {}, "optimizer": {}, "extended": {}}
    for recipe in recipes:
        for part, known in values.items():
            known.update(recipe.get(part, {}))
    return values


def _agrees(when: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return all(_holds(params.get(name), wanted) for name, wanted in when.items())


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        low, high = wanted.get("min", float("-inf")), wanted.get("max", float("inf"))
        return isinstance(value, int | float) and bool(low <= value <= high)
    return value in wanted
