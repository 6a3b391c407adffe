"""A suite with some of its values set by hand for a run: another setting, and marked as such wherever it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kdbench.errors import KdbenchError, unknown_name
from kdbench.plugin.parameters import as_assignments
from kdbench.specs import Condition, Suite
from kdbench.suites.reading import check_keys, suite_of

STUDENT: Final = "student"
"""The one key outside a table that may change: one of the suite's networks then stands in the student's place."""
NAMED: Final = ("networks", "conditions", "tasks")
"""Tables of tables, whose names are the suite's own."""
TABLES: Final = ("recipe", "attack", *NAMED)
"""What a changed key begins with."""
HINT: Final = "a suite file has the same keys: `kdbench describe suite NAME --toml` prints one"


def with_changes(suite: Suite, changes: Mapping[str, Any]) -> Suite:
    """The suite with values in place of its own, which ``Suite.changed`` lists.

    A key is that of a suite file with its table before it: ``recipe.epochs`` is of all conditions, also of those that
    have their own, ``conditions.sym-40.recipe.epochs`` of one; ``student`` is the students' model. Where epochs change,
    milestones move with them unless they are given. Without changes the suite comes back as it is.

    Args:
        suite: not changed yet.
        changes: dotted key to value; a table as value changes what it states.

    Raises:
        KdbenchError: a key that the suite has not, with the nearest right one, or a value out of range.
    """
    if not changes:
        return suite
    if suite.changed:
        raise KdbenchError(f"suite '{suite.label}' is changed already", "give all changes at once")
    try:
        plain = json.loads(json.dumps(dict(changes)))
    except TypeError as error:
        raise KdbenchError(f"changes of suite '{suite.name}': {error}", "give values that JSON has") from None
    what = f"suite '{suite.name}' with {' '.join(as_assignments(plain))}"
    raw: dict[str, Any] = {}
    for key, value in plain.items():
        _merge(raw, _nested(_parts(suite, key), value))
    check_keys(raw, what, HINT)
    values = suite.model_dump(mode="json")
    recipe = raw.pop("recipe", {})
    _merge(values, {"conditions": {name: {"recipe": recipe} for name in suite.conditions}})
    _merge(values, raw)
    own = raw.get("conditions", {})
    noises = {name: one["noise"] for name, one in own.items() if one.get("noise")}
    for name, noise in noises.items():  # of another file the old one's place or hash says nothing
        if {"path", "sha256"} & noise.keys():
            values["conditions"][name]["noise"] |= {key: noise.get(key) for key in ("path", "sha256")}
    given = {name: {**recipe, **own.get(name, {}).get("recipe", {})} for name in suite.conditions}
    moving = [name for name, keys in given.items() if "epochs" in keys and "milestones" not in keys]
    for name in moving:
        values["conditions"][name]["recipe"]["milestones"] = []
    changed = {**_flat({"recipe": recipe}), **_flat(raw)}
    found = suite_of(values, what, HINT, dict(sorted(changed.items())))
    moved = {name: _moved(suite.conditions[name], found.conditions[name]) for name in moving}
    return found.model_copy(update={"conditions": {**found.conditions, **moved}, "changed": _by_hash(found, noises)})


def _by_hash(suite: Suite, conditions: Iterable[str]) -> dict[str, Any]:
    """What was changed, with hashes of files of labels in place of their paths: wherever they lie, it is the same."""
    changed = dict(suite.changed)
    for name in conditions:
        noise = suite.conditions[name].noise
        if changed.pop(f"conditions.{name}.noise.path", None) is not None and noise is not None:
            changed[f"conditions.{name}.noise.sha256"] = noise.sha256
    return dict(sorted(changed.items()))


def is_of_suite(name: str) -> bool:
    """Whether a name is a value of a suite behind its table, as ``recipe.lr``: parameters of methods have no dot."""
    table, dot, _ = name.partition(".")
    return bool(dot) and table in TABLES


def value_of(suite: Suite, key: str, condition: str) -> Any:
    """What a suite says at a dotted key, under a condition where it says it of all.

    Raises:
        KdbenchError: it says nothing there.
    """
    table, *rest = _parts(suite, key)
    values = suite.model_dump(mode="json")
    found = values["conditions"][condition]["recipe"] if table == "recipe" else values[table]
    for part in rest:
        if not isinstance(found, dict) or part not in found:
            raise unknown_name(f"value of suite '{suite.name}'", key, [], f"'{part}' is not stated there; {HINT}")
        found = found[part]
    return found


def _moved(old: Condition, new: Condition) -> Condition:
    """With the old milestones at the same shares of the new epochs."""
    milestones = old.recipe.moved(new.recipe.epochs / old.recipe.epochs, new.recipe.epochs)
    return new.model_copy(update={"recipe": new.recipe.model_copy(update={"milestones": milestones})})


def _parts(suite: Suite, key: str) -> list[str]:
    """The way to a value: tables and key. Names of a suite's conditions may have dots themselves."""
    if key == STUDENT:
        return [key]
    table, _, rest = key.partition(".")
    if table not in TABLES:
        raise unknown_name("table of a suite", table, TABLES, f"found '{key}'; {HINT}")
    known = getattr(suite, table) if table in NAMED else ()
    if not rest or rest in known:
        raise KdbenchError(f"'{key}' is a table", f"name one of its keys, as {key.removesuffix('.')}.KEY=VALUE")
    if table not in NAMED:
        return [table, *rest.split(".")]
    name = max((name for name in known if rest.startswith(f"{name}.")), key=len, default=None)
    if name is None:
        kind = table.removesuffix("s")
        raise unknown_name(kind, rest.partition(".")[0], known, f"these are suite '{suite.name}''s {table}")
    return [table, name, *rest.removeprefix(f"{name}.").split(".")]


def _nested(parts: list[str], value: Any) -> dict[str, Any]:
    """A value as a file has it, tables around it."""
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Set what ``more`` states, table by table."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            if not isinstance(values.get(key), dict):
                values[key] = {}
            _merge(values[key], value)
        else:
            values[key] = value


def _flat(raw: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted key to value."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found
