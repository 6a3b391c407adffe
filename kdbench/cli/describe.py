"""Everything a registered thing says about itself, as plain values and as text."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from kdbench.methods.context import Network
    from kdbench.methods.method import MethodSpec


def describe_entry(name: str, entry: Any, origin: str) -> dict[str, Any]:
    """Plain values for JSON: name, origin, what it is, parameters with defaults and ranges."""
    from kdbench.attacks.spec import AttackSpec
    from kdbench.claims import Claim
    from kdbench.methods.method import MethodSpec
    from kdbench.specs import read_suite
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
    if isinstance(entry, Path):
        return {**description, **read_suite(entry).model_dump(mode="json")}
    if isinstance(entry, Claim):
        stated = {"what": entry.sentence, "paper": entry.paper, "suite": entry.suite}
        return {**description, **stated, "comparisons": [str(comparison) for comparison in entry.comparisons]}
    if isinstance(entry, Task):
        doc = inspect.getdoc(type(entry)) or ""
        return {**description, "what": doc, "version": entry.version, "settings": describe_parameters(entry.Settings)}
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    plain = {key: value for key, value in fields.items() if isinstance(value, (str, int, float, tuple, type(None)))}
    return {**description, **plain}


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
    parts += [f"trained by {needed.method}" + (f" with {dict(needed.params)}" if needed.params else "")]
    parts += [f"for {needed.epochs_share:.0%} of the epochs"] if needed.epochs_share < 1 else []
    return ", ".join(parts)


def describe_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, default, range or choices, and meaning of each field."""
    properties = model.model_json_schema(mode="serialization").get("properties", {})
    return [
        {
            "name": name,
            "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
            "range": _range(properties.get(name, {})),
            "meaning": field.description or "",
        }
        for name, field in model.model_fields.items()
    ]


def _range(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_range(part) for part in schema["anyOf"])
    kind = {"number": "number", "integer": "integer", "boolean": "true | false", "null": "none", "array": "[a, b, ...]"}
    text = kind.get(schema.get("type", ""), schema.get("type", "value"))
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([text, *limits])


def print_description(description: dict[str, Any]) -> None:
    """The description as text; parameters as a table."""
    from kdbench.cli.tables import listing, output

    console = output()
    for key, value in description.items():
        if key in ("parameters", "settings") and isinstance(value, list):
            rows = [(p["name"], str(p["default"]), p["range"], p["meaning"]) for p in value]
            console.print(listing(rows, (key[:-1], "default", "range", "meaning")) if rows else f"{key}: none")
        elif key == "recipes":
            for recipe in value:
                match = {k: v for k, v in recipe.items() if k not in ("params", "optimizer", "extended")}
                chosen = {k: v for part in ("params", "optimizer", "extended") for k, v in recipe.get(part, {}).items()}
                console.print(f"recipe for {match}: {chosen}", markup=False, highlight=False)
        elif isinstance(value, dict):
            for name, inner in value.items():
                console.print(f"{key}.{name}: {inner}", markup=False, highlight=False)
        elif value not in ("", None, []):
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            console.print(f"{key}: {text}", markup=False, highlight=False)
