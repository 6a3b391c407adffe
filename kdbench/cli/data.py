"""``kdbench data``: image sets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import DataDir, Json
from kdbench.errors import KdbenchError

data_app = typer.Typer(help="Image sets: what is there, and downloading what is not.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("status", cls=OnceCommand)
def data_status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show which image sets are available, and what others lack."""
    from kdbench.corruptions import published_status
    from kdbench.data import DataPlace, data_status
    from kdbench.plugin.loader import load_plugins

    place = DataPlace.default(data_dir)
    registry = load_plugins().datasets
    rows = []
    for name in registry:
        spec = registry.get(name)
        status = data_status(spec, place)
        state = "can be fetched" if status.state == "missing" and spec.fetch else status.state
        rows.append((name, state, status.found, spec.description))
    for name, status in published_status(place.data_dir).items():
        rows.append((name, status.state, status.found, "published corruptions of its test images"))
    if as_json:
        print(json.dumps([dict(zip(("name", "state", "found", "what"), row, strict=True)) for row in rows]))
        return
    from kdbench.cli.tables import listing, output

    output().print(listing(rows, ("dataset", "state", "found", "what it is")))
    print(f"looked in {place.data_dir or 'no --data-dir'}; cache and downloads in {place.cache_dir}")


@data_app.command("fetch", cls=OnceCommand)
def data_fetch(name: Annotated[str, typer.Argument(help="Dataset to download.")], data_dir: DataDir = None) -> None:
    """Download an image set, checked against its pinned checksum.

    From its official place, or a mirror.
    """
    from kdbench.data import DataPlace, data_status
    from kdbench.plugin.loader import load_plugins

    spec = load_plugins().datasets.get(name)
    if spec.fetch is None:
        raise KdbenchError(f"dataset '{name}' is not for download", "it is embedded, or it must be put there by hand")
    place = DataPlace.default(data_dir, download=True, progress=True)
    folder = spec.fetch(place)
    status = data_status(spec, place)
    if status.state != "available":  # what was there already stays as it is, whole or not
        raise KdbenchError(status.found, f"move '{folder}' away and run the same command again")
    print(folder)
