"""What is installed: ``kdbench list``, ``describe`` and ``plugins``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json
from kdbench.errors import KdbenchError, unknown_name

if TYPE_CHECKING:
    from kdbench.plugin.registry import Registry

KINDS = ("methods", "suites", "tasks", "datasets", "models", "label-noises", "attacks", "claims", "model-sources")


def _registry(kind: str, *, singular: bool = False) -> Registry[Any]:
    """The registry of a kind, which is checked before plugins and with them torch are loaded."""
    plural = kind if kind.endswith("s") else f"{kind}s"
    if plural not in KINDS:
        raise unknown_name("kind", kind, [known.removesuffix("s") for known in KINDS] if singular else KINDS)
    from kdbench.plugin.loader import load_plugins

    registry: Registry[Any] = getattr(load_plugins(), plural.replace("-", "_"))
    return registry


def _summary(entry: Any) -> str:
    if isinstance(entry, Path):
        from kdbench.suites.reading import read_suite

        return read_suite(entry).title
    from kdbench.plugin.docs import summary

    text = getattr(entry, "summary", None) or getattr(entry, "description", None)
    return summary(text or getattr(entry, "sentence", None) or type(entry).__doc__)


def _written(name: str, entry: Any) -> str:
    """How it is asked for: its name, and of a family of attacks that of a member behind it."""
    return str(getattr(entry, "written", name))


@app.command("list", cls=OnceCommand)
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="methods, suites, tasks, datasets, models, label-noises, attacks, claims or model-sources."
        ),
    ] = "methods",
    as_json: Json = False,
) -> None:
    """List what is installed, and who brought it."""
    registry = _registry(kind)
    entries = {name: registry.get(name) for name in registry}
    rows = [(_written(name, entry), _summary(entry), registry.origin(name)) for name, entry in entries.items()]
    if as_json:
        print(json.dumps([{"name": name, "summary": text, "from": origin} for name, text, origin in rows]))
        return
    from kdbench.cli.tables import listing, output

    output().print(listing(rows, (registry.kind, "what it is", "from")))


@app.command(cls=OnceCommand)
def describe(
    kind: Annotated[
        str, typer.Argument(help="method, suite, task, dataset, model, label-noise, attack, claim or model-source.")
    ],
    name: Annotated[str, typer.Argument(help="Its name; of a suite also its TOML file.")],
    as_json: Json = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print a suite as a TOML file to start your own from.")] = False,
) -> None:
    """Show everything about one of them: parameters and ranges."""
    registry = _registry(kind, singular=True)
    if toml:
        print(_toml(registry.kind, name, as_json), end="")
        return
    entry: Any
    if registry.kind == "attack":
        from kdbench.attacks.spec import named

        entry, origin = named(registry, name)
    elif registry.kind == "suite" and name.endswith(".toml"):
        entry, origin = Path(name), name
    else:
        entry, origin = registry.get(name), registry.origin(name)
    from kdbench.cli.describe import describe_entry, print_description

    description = describe_entry(name, entry, origin)
    if as_json:
        print(json.dumps(description))
    else:
        print_description(description)


def _toml(kind: str, name: str, as_json: bool) -> str:
    if kind != "suite" or as_json:
        what = "--json" if as_json else f"a {kind}"
        raise KdbenchError(f"--toml does not go with {what}", "`kdbench describe suite NAME --toml`")
    from kdbench.suites import suite_file
    from kdbench.suites.copying import copy_text

    return copy_text(suite_file(name))


@app.command(cls=OnceCommand)
def plugins(as_json: Json = False) -> None:
    """Show plugins, which failed to load and why.

    Also names that two plugins bring.
    """
    from kdbench.plugin.loader import load_plugins

    found = load_plugins()
    clashes = [
        {"kind": registry.kind, "name": name, "from": origins}
        for registry in found.registries()
        for name, origins in registry.clashes().items()
    ]
    failures = [{"plugin": f.plugin, "from": f.origin, "error": f.error} for f in found.failures]
    if as_json:
        print(json.dumps({"loaded": found.loaded, "failures": failures, "clashes": clashes}))
        return
    from kdbench.cli.tables import listing, output

    rows = [(name, origin, "loaded") for name, origin in found.loaded.items()]
    rows += [(f["plugin"], f["from"], f"left out: {f['error']}") for f in failures]
    output().print(listing(rows, ("plugin", "from", "state")))
    for clash in clashes:
        print(f"two plugins bring a {clash['kind']} named '{clash['name']}': {' and '.join(clash['from'])}")
