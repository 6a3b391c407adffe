"""What is installed: ``kdbench list``, ``describe``, ``plugins`` and ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.options import DataDir, Json
from kdbench.errors import unknown_name

if TYPE_CHECKING:
    from kdbench.plugin.loader import Plugins
    from kdbench.plugin.registry import Registry

KINDS = ("methods", "suites", "tasks", "datasets", "models", "label-noises", "claims")


def _registry(plugins: Plugins, kind: str) -> Registry[Any]:
    plural = kind if kind.endswith("s") else f"{kind}s"
    if plural not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    registry: Registry[Any] = getattr(plugins, plural.replace("-", "_"))
    return registry


def _summary(entry: Any) -> str:
    if isinstance(entry, Path):
        from kdbench.specs import read_suite

        return read_suite(entry).title
    text = getattr(entry, "summary", None) or getattr(entry, "description", None)
    text = text or getattr(entry, "sentence", None) or type(entry).__doc__ or ""
    return str(text).partition("\n")[0].strip()


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, suites, tasks, datasets, models, label-noises or claims.")
    ] = "methods",
    as_json: Json = False,
) -> None:
    """List what is installed, and who brought it."""
    from kdbench.plugin.loader import load_plugins

    registry = _registry(load_plugins(), kind)
    rows = [(name, _summary(registry.get(name)), registry.origin(name)) for name in registry]
    if as_json:
        print(json.dumps([{"name": name, "summary": text, "from": origin} for name, text, origin in rows]))
        return
    from kdbench.cli.tables import listing, output

    output().print(listing(rows, (registry.kind, "what it is", "from")))


@app.command()
def describe(
    kind: Annotated[str, typer.Argument(help="method, suite, task, dataset, model, label-noise or claim.")],
    name: Annotated[str, typer.Argument(help="Its name; of a suite also its TOML file.")],
    as_json: Json = False,
) -> None:
    """Show everything about one method, suite, task, ...: parameters, defaults, ranges."""
    from kdbench.cli.describe import describe_entry, print_description
    from kdbench.plugin.loader import load_plugins

    registry = _registry(load_plugins(), kind)
    if registry.kind == "suite" and name.endswith(".toml"):
        description = describe_entry(name, Path(name), name)
    else:
        description = describe_entry(name, registry.get(name), registry.origin(name))
    if as_json:
        print(json.dumps(description))
    else:
        print_description(description)


@app.command()
def plugins(as_json: Json = False) -> None:
    """Show installed plugins, what failed to load and why, and names that two plugins bring."""
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


@app.command()
def doctor(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Say what is installed, what is broken and how to mend it. Exit status 1 when something is broken."""
    import dataclasses

    from kdbench.cli.doctor import examine, exit_status

    checks = examine(data_dir)
    if as_json:
        print(json.dumps([dataclasses.asdict(check) for check in checks]))
    else:
        from kdbench.cli.tables import listing, output

        rows = [(check.status, check.name, check.found, check.mend) for check in checks]
        output().print(listing(rows, ("state", "what", "found", "how to mend it")))
    raise typer.Exit(exit_status(checks))
