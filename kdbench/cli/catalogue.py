"""What is installed: ``kdbench list``, ``describe`` and ``plugins``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.listing import listing
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json
from kdbench.errors import KdbenchError, unknown_name

if TYPE_CHECKING:
    from kdbench.plugin.registry import Registry

KINDS = (
    "methods", "suites", "tasks", "datasets", "models", "label-noises", "attacks", "claims", "reproductions",
    "model-sources", "trackers",
)  # fmt: skip


def _kind(kind: str, *, singular: bool = False) -> str:
    """The registry's name of a kind, singular or plural, which is checked before anything is loaded."""
    plural = kind if kind.endswith("s") else f"{kind}s"
    if plural not in KINDS:
        raise unknown_name("kind", kind, [known.removesuffix("s") for known in KINDS] if singular else KINDS)
    return plural.removesuffix("s").replace("-", " ")


@app.command("list", cls=OnceCommand)
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="methods, suites, tasks, datasets, models, label-noises, attacks, claims, reproductions, "
            "model-sources or trackers."
        ),
    ] = "methods",
    as_json: Json = False,
) -> None:
    """List what is installed, and who brought it."""
    asked = _kind(kind)
    from kdbench.plugin.catalogue import catalogue

    registry = catalogue().registries[asked]
    lines = {name: registry.get(name) for name in registry}
    rows = [(line.written, line.summary, registry.origin(name)) for name, line in lines.items()]
    if as_json:
        print(json.dumps([{"name": name, "summary": text, "from": origin} for name, text, origin in rows]))
        return
    print(listing(rows, (registry.kind, "what it is", "from")))


@app.command(cls=OnceCommand)
def describe(
    kind: Annotated[
        str,
        typer.Argument(
            help="method, suite, task, dataset, model, label-noise, attack, claim, reproduction, model-source or "
            "tracker."
        ),
    ],
    name: Annotated[str, typer.Argument(help="Its name; of a suite also its TOML file.")],
    as_json: Json = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print a suite as a TOML file to start your own from.")] = False,
) -> None:
    """Show everything about one of them: parameters and ranges."""
    asked = _kind(kind, singular=True)
    from kdbench.plugin.catalogue import catalogue

    if not (asked == "suite" and name.endswith(".toml")):
        catalogue().require(asked, [name.partition(":")[0] if asked == "attack" else name])
    registry = _registry(asked)
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


def _registry(kind: str) -> Registry[Any]:
    from kdbench.plugin.loader import load_plugins

    return next(registry for registry in load_plugins().registries() if registry.kind == kind)


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
    from kdbench.plugin.catalogue import catalogue

    found = catalogue()
    clashes = [
        {"kind": kind, "name": name, "from": origins}
        for kind, registry in found.registries.items()
        for name, origins in registry.clashes().items()
    ]
    failures = found.failures
    if as_json:
        print(json.dumps({"loaded": found.loaded, "failures": failures, "clashes": clashes}))
        return
    rows = [(name, origin, "loaded") for name, origin in found.loaded.items()]
    rows += [(f["plugin"], f["from"], f"left out: {f['error']}") for f in failures]
    print(listing(rows, ("plugin", "from", "state")))
    for clash in clashes:
        print(f"two plugins bring a {clash['kind']} named '{clash['name']}': {' and '.join(clash['from'])}")
