"""Everything a registered thing says about itself, as plain values and as text."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kdbench.cli.listing import listing
from kdbench.cli.words import assigned, recipe_rows
from kdbench.results.wording import words

if TYPE_CHECKING:
    from kdbench.methods.context import Network
    from kdbench.methods.method import MethodSpec, Resolved
    from kdbench.specs import Condition, Suite


def describe_entry(name: str, entry: Any, origin: str) -> dict[str, Any]:
    """Plain values for JSON: name, origin, what it is, parameters with defaults and ranges."""
    from kdbench.attacks.spec import AttackSpec
    from kdbench.claims import Claim
    from kdbench.data import DatasetSpec
    from kdbench.methods.method import MethodSpec
    from kdbench.reproducing.reading import identity, read_reproduction
    from kdbench.suites.reading import read_suite
    from kdbench.tasks import Task

    description: dict[str, Any] = {"name": name, "from": origin}
    if isinstance(entry, MethodSpec):
        return {
            **description,
            "what": inspect.getdoc(entry.target) or "",
            "paper": entry.paper,
            "needs": describe_needs(entry),
            "parameters": describe_parameters(entry.parameters),
            "recipes": [dict(recipe) for recipe in entry.recipes],
        }
    if isinstance(entry, AttackSpec):
        description |= {"written": entry.written, "what": entry.description, "paper": entry.paper}
        if entry.members is not None:
            return {**description, "members": list(entry.members())}
        return {**description, "parameters": describe_parameters(entry.parameters)}
    if isinstance(entry, Path) and identity(entry) == name:
        item = read_reproduction(entry)
        facts = item.model_dump(mode="json", include={"paper", "known", "figure", "scales"}, exclude_defaults=True)
        return {**description, "what": item.title, **facts, "rows": item.rows, "columns": item.columns}
    if isinstance(entry, Path):
        suite = read_suite(entry)
        facts = {**suite.model_dump(mode="json"), "family": suite.family}
        return {**description, **facts, "views": describe_views(suite), "methods": describe_tuning(suite)}
    if isinstance(entry, Claim):
        stated = {"what": entry.sentence, "paper": entry.paper, "suite": entry.suite}
        return {**description, **stated, "comparisons": [str(comparison) for comparison in entry.comparisons]}
    if isinstance(entry, Task):
        doc = inspect.getdoc(type(entry)) or ""
        return {**description, "what": doc, "version": entry.version, "settings": describe_parameters(entry.Settings)}
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    plain = {key: value for key, value in fields.items() if isinstance(value, (str, int, float, tuple, type(None)))}
    if isinstance(entry, DatasetSpec):
        plain["to_get_it"] = " or ".join(entry.ways) or "it comes with its package"
    return {**description, **plain}


def describe_tuning(suite: Suite) -> dict[str, dict[str, dict[str, Any] | None]]:
    """Every installed method to condition to what its student gets there of its own: parameters that differ from their
    declared defaults, ``optimizer`` values that differ from the suite's; None where it has recipes and none is for
    the condition."""
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.needs import tuned_recipe

    methods, found = load_plugins().methods, dict[str, dict[str, dict[str, Any] | None]]()
    for spec in (methods.get(name) for name in methods.names()):
        found[spec.name] = {}
        for name, condition in suite.conditions.items():
            resolved = resolved_in(suite, spec, condition)
            own = tuned_recipe(spec.name, condition.recipe, resolved.tuned)
            found[spec.name][name] = None if resolved.untuned else {
                "params": _other(spec.validate({}), resolved.params),
                "optimizer": _other(condition.recipe.model_dump(mode="json"), own.model_dump(mode="json")),
            }  # fmt: skip
    return found


def resolved_in(suite: Suite, spec: MethodSpec, condition: Condition) -> Resolved:
    """What a method is run with under a condition, where nothing is passed."""
    from kdbench.methods.recipes import Setting

    demanded = suite.demanded(spec.parameters.model_fields)
    return spec.resolve(demanded, Setting(suite.family, suite.dataset, suite.student, condition))


def describe_views(suite: Suite) -> dict[str, list[str]]:
    """View to the installed methods whose students see it, each with its conditions where these are not all."""
    from kdbench.plugin.loader import load_plugins

    methods, found = load_plugins().methods, dict[str, list[str]]()
    for spec in (methods.get(name) for name in methods.names()):
        seen: dict[str, list[str]] = {}
        for name, condition in suite.conditions.items():
            seen.setdefault(spec.view(resolved_in(suite, spec, condition).params), []).append(name)
        for view, names in seen.items():
            found.setdefault(view, []).append(spec.name if len(seen) == 1 else f"{spec.name} ({', '.join(names)})")
    return found


def _other(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in own.items() if value != usual[name]}


def describe_needs(method: MethodSpec) -> dict[str, str]:
    """Role to what fills it, in words; where that depends on parameters, for their defaults."""
    note = ", by default" if callable(method.needs) else ""
    return {
        role: (f"the suite's {needed}" if isinstance(needed, str) else _network(needed)) + note
        for role, needed in method.needed(method.validate({})).items()
    }


def _network(needed: Network) -> str:
    """A network in words.

    >>> from kdbench.methods.context import Network
    >>> _network(Network(like="student", epochs_share=0.1))
    'a network like the student, trained by ce, for 10% of the epochs'
    """
    parts = [f"a network like the {needed.like}"]
    parts += [f"of architecture {needed.model}"] if needed.model else []
    parts += [f"with dropout {needed.dropout:g}"] if needed.dropout else []
    parts += [f"trained by {needed.method}" + (f" with {assigned(needed.params)}" if needed.params else "")]
    parts += [f"for {needed.epochs_share:.0%} of the epochs"] if needed.epochs_share < 1 else []
    parts += [f"at least {needed.least_steps} steps"] if needed.least_steps else []
    return ", ".join(parts)


def describe_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, default, range or choices, and meaning of each field, which says what only matters for measuring."""
    from kdbench.methods.method import is_measured_only

    properties = model.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
            "range": _range(properties.get(name, {})),
            "meaning": " ".join((field.description or "").replace("``", "`").split())
            + "; matters only when it is measured" * is_measured_only(field),
        }
        for name, field in model.model_fields.items()
    ]


def _range(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "table"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_range(part) for part in schema["anyOf"])
    kind = {"number": "number", "integer": "integer", "boolean": "true | false", "null": "none", "array": "[a, b, ...]",
            "object": "table"}  # fmt: skip
    text = kind.get(schema.get("type", ""), schema.get("type", "value"))
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {words(schema[key])}" for key, sign in signs.items() if key in schema]
    return " ".join([text, *limits])


USUAL, UNTUNED = ("defaults", "the suite's"), ("defaults: it has recipes, none for this", "the suite's")
"""How parameters and optimiser values are shown where a method has none of its own."""


def tuning_rows(
    tuning: Mapping[str, Mapping[str, Mapping[str, Any] | None]],
) -> list[tuple[str, str, str, str]]:
    """What ``describe_tuning`` found as rows of a table: conditions in which a method gets the same share one, and so
    do methods that get nothing of their own in any."""
    rows, alike = [], dict[tuple[str, str], list[str]]()
    for method, conditions in tuning.items():
        shared: dict[tuple[str, str], list[str]] = {}
        for name, values in conditions.items():
            own = UNTUNED
            if values is not None:
                own = assigned(values["params"]) or USUAL[0], assigned(values["optimizer"]) or USUAL[1]
            shared.setdefault(own, []).append(name)
        same = next(iter(shared))
        if len(shared) == 1 and same in (UNTUNED, USUAL):
            alike.setdefault(same, []).append(method)
        else:
            rows += [(method, ", ".join(names), *own) for own, names in shared.items()]
    return rows + [(", ".join(methods), "all", *own) for own, methods in alike.items()]


def suite_tables(description: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], Sequence[tuple[str, ...]]]]:
    """Columns and rows of what a suite has several of."""
    networks = [
        (role, one["model"], one["method"], str(one["seed"]), assigned(one["params"]) or "defaults")
        for role, one in description["networks"].items()
    ]
    conditions = [
        (name, _noise(one), words(one["train_size"] or "all"), words(one["recipe"]))
        for name, one in description["conditions"].items()
    ]
    tasks = [
        (name, words(plan["conditions"] or "all that it applies to"), words(plan["settings"]) or "defaults")
        for name, plan in description["tasks"].items()
    ]
    return {
        "networks": (("network", "model", "method", "seed", "parameters"), networks),
        "conditions": (("condition", "label noise", "training images", "recipe"), conditions),
        "tasks": (("task", "conditions", "settings"), tasks),
        "methods": (("method", "condition", "parameters", "optimiser"), tuning_rows(description["methods"])),
    }


def _noise(condition: Mapping[str, Any]) -> str:
    noise = condition["noise"]
    if noise is None:
        return "as the labels come" if condition.get("noise_unknown") else "none"
    if noise["rate"] is None:
        return ", ".join([noise["kind"], *([noise["path"]] if noise.get("path") else [])])
    return f"{noise['kind']}, rate {words(noise['rate'])}, seed {noise['seed']}"


def print_description(description: dict[str, Any]) -> None:
    """The description as text; what there is several of as tables."""
    from kdbench.cli.tables import output

    console = output()
    tables = suite_tables(description) if "conditions" in description else {}
    for key, value in description.items():
        name = key.replace("_", " ")
        if key in tables:
            columns, rows = tables[key]
            print(listing(rows, columns) if rows else f"{name}: none")
        elif key in ("parameters", "settings") and isinstance(value, list):
            columns = ("name", "default", "range", *(["meaning"] if any(p["meaning"] for p in value) else []))
            shown = [[words(one[column], one["name"]) for column in columns] for one in value]
            print(listing(shown, (key[:-1], *columns[1:])) if value else f"{key}: none")
        elif key == "recipes":
            if value:
                print(listing(recipe_rows(value), ("recipe for", "sets")))
        elif isinstance(value, dict):
            for inner, text in value.items():
                console.print(f"{name} {inner}: {words(text, inner) or 'none'}", markup=False, highlight=False)
        elif key == "comparisons":
            for text in value:
                console.print(f"comparison: {text}", markup=False, highlight=False)
        elif value not in ("", None, [], ()):
            console.print(f"{name}: {words(value)}", markup=False, highlight=False)
