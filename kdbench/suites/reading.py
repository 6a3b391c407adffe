"""From a suite file to a ``Suite``: every key is looked up first, so that a misspelt one is named."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kdbench.errors import KdbenchError
from kdbench.specs import (
    AttackBudget,
    Condition,
    LabelNoise,
    NetworkSpec,
    Recipe,
    Spec,
    Suite,
    TaskPlan,
    first_problem,
)
from kdbench.suites.label_files import with_hashes

TABLES: Final[Mapping[str, type[Spec]]] = {
    "": Suite,
    "recipe": Recipe,
    "attack": AttackBudget,
    "networks.*": NetworkSpec,
    "conditions.*": Condition,
    "conditions.*.noise": LabelNoise,
    "conditions.*.recipe": Recipe,
    "tasks.*": TaskPlan,
}
"""The tables of a suite file, ``*`` for names that are free, and whose fields their keys are."""
START: Final = "`kdbench describe suite digits --toml` prints one to start from"


def keys(table: str) -> list[str]:
    """The keys that a table of ``TABLES`` may have."""
    names = [name for name in TABLES[table].model_fields if name != "changed"]
    return [*names, "recipe"] if not table else names


def read_suite(path: Path) -> Suite:
    """Read and check one suite file; a mistake in it is one line that names file and key."""
    try:
        return suite_of(tomllib.loads(path.read_text(encoding="utf-8")), f"suite file {path}", folder=path.parent)
    except OSError as error:
        raise KdbenchError(f"cannot read suite file {path}: {error.strerror}", "name a suite or a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KdbenchError(f"suite file {path} is not TOML: {error}", "fix the line it names") from None


def suite_of(
    raw: Mapping[str, Any], what: str, hint: str = START, changed: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Suite:  # fmt: skip
    """The suite that the values of a file describe; errors call it ``what`` and end with ``hint``. Paths in it start in
    ``folder``, None: the working folder."""
    check_keys(raw, what, hint)
    try:
        suite = Suite.model_validate({**_merged_recipes(raw), **({"changed": changed} if changed else {})})
    except ValidationError as error:
        raise KdbenchError(f"{what}: {_as_written(first_problem(error), raw)}", hint) from None
    return with_hashes(suite, what, folder)


def check_keys(raw: Mapping[str, Any], what: str, hint: str) -> None:
    """Raise ``KdbenchError`` with all keys that no table has."""
    if problems := list(unknown_keys(raw)):
        raise KdbenchError(f"{what}: {'; '.join(problems)}", hint)


def unknown_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    """Each key that no table has, with the one that is meant: "recipe.epoch: did you mean epochs"."""
    for table in TABLES:
        for place, values in _tables(raw, table.split(".") if table else []):
            if not isinstance(values, Mapping):
                yield f"{'.'.join(place)}: expected a table, found {values!r}"
                continue
            for key in values:
                if key not in keys(table):
                    yield f"{'.'.join([*place, key])}: {_meant(key, table)}"


def _tables(raw: Any, parts: list[str], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Where the tables of a kind are, and what is there; what is no table on the way is the table before it's."""
    if not parts:
        yield place, raw
    elif isinstance(raw, Mapping):
        for name in raw if parts[0] == "*" else {parts[0]} & raw.keys():
            if raw[name] is not None:
                yield from _tables(raw[name], parts[1:], (*place, name))


def _meant(key: str, table: str) -> str:
    """What to do about a key that a table has not."""
    known = keys(table)
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.6):
        return f"did you mean {near[0]}"
    if table == "tasks.*":
        return f"did you mean settings.{key}"
    homes = [other for other in TABLES if key in keys(other)]
    if homes:
        home = re.sub(r"\*", "NAME", homes[0])
        return f"belongs to [{home}]" if home else "belongs to the top of the file, before the first [table]"
    return f"no such key, known: {', '.join(known)}"


def _merged_recipes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The suite's ``[recipe]`` under each condition's own values: files stay short, specs are complete."""
    values, conditions = dict(raw), raw.get("conditions")
    base = values.pop("recipe", {})
    if isinstance(conditions, Mapping):
        values["conditions"] = {
            name: {**condition, "recipe": {**base, **condition.get("recipe", {})}}
            for name, condition in conditions.items()
        }
    return values


def _as_written(problem: str, raw: Mapping[str, Any]) -> str:
    """A finding of a condition's recipe is of ``[recipe]`` where the condition does not state the key itself."""
    conditions = raw.get("conditions")
    for name, condition in conditions.items() if isinstance(conditions, Mapping) else ():
        inherited = f"conditions.{name}.recipe."
        key = re.split(r"[.:]", problem.removeprefix(inherited))[0]
        if problem.startswith(inherited) and key not in condition.get("recipe", {}):
            return problem.removeprefix(f"conditions.{name}.")
    return problem
