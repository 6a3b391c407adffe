"""``kdbench new-plugin``: a package to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json


@app.command("new-plugin", cls=OnceCommand)
def new_plugin(
    name: Annotated[str, typer.Argument(help="What it brings, as 'focal-loss': its package is kdbench-focal-loss.")],
    kind: Annotated[str, typer.Option(help="method, task, attack, dataset or noise.")] = "method",
    into: Annotated[Path, typer.Option(help="Folder in which the package's folder is made.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a package of your own to start from.

    It has a module with a working example, its entry point, tests and a workflow for GitHub; it installs and passes.
    """
    from kdbench.errors import KdbenchError
    from kdbench.plugin.catalogue import catalogue
    from kdbench.plugin.new import PREFIX, REGISTRIES, check_name, write_plugin

    short = check_name(name, kind)
    registry = catalogue().registries[REGISTRIES[kind]]
    if short in registry:
        raise KdbenchError(
            f"{REGISTRIES[kind]} '{short}' is installed already, by {registry.origin(short)}",
            "two of one name belong to neither: choose another",
        )
    files = write_plugin(name, kind, into)
    folder = into / f"{PREFIX}{short}"
    if as_json:
        print(json.dumps({"folder": str(folder), "files": [str(file) for file in files]}))
        return
    for file in files:
        print(file)
    print(f"next: cd {folder} && pip install '.[test]' && pytest")
