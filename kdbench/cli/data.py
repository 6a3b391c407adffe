"""``kdbench data``: image sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.listing import listing
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import DataDir, Json
from kdbench.errors import KdbenchError

data_app = typer.Typer(help="Image sets: what is there, and getting what is not.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("status", cls=OnceCommand)
def data_status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show which image sets are available, and what others lack."""
    from kdbench.corruptions import published_status
    from kdbench.data import DataPlace, data_status
    from kdbench.noise import labels_status
    from kdbench.plugin.loader import load_plugins

    place = DataPlace.default(data_dir)
    plugins = load_plugins()
    registry = plugins.datasets
    rows = []
    for name in registry:
        spec = registry.get(name)
        status = data_status(spec, place)
        way = "can be fetched" if spec.fetch else "can be built" if spec.build else "missing"
        state = way if status.state == "missing" else status.state
        rows.append((name, state, status.found, spec.description))
    for noise in map(plugins.label_noises.get, plugins.label_noises):
        if noise.fetch is not None:
            status = labels_status(noise, place)
            state = "can be fetched" if status.state == "missing" else status.state
            rows.append((noise.name, state, status.found, noise.description))
    for name, status in published_status(place.data_dir).items():
        rows.append((name, status.state, status.found, "published corruptions of its test images"))
    if as_json:
        print(json.dumps([dict(zip(("name", "state", "found", "what"), row, strict=True)) for row in rows]))
        return
    print(listing(rows, ("dataset", "state", "found", "what it is")))
    print(f"looked in {place.data_dir or 'no --data-dir'}; cache and downloads in {place.cache_dir}")


@data_app.command("build", cls=OnceCommand)
def data_build(
    name: Annotated[str, typer.Argument(help="Dataset to make.")],
    source: Annotated[
        Path, typer.Option("--from", help="What it is made from: `kdbench describe dataset NAME` says which file.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Make an image set from a file that you have, and check its hash."""
    from kdbench.plugin.catalogue import catalogue

    catalogue().require("dataset", [name])
    from kdbench.data import DataPlace, load_dataset
    from kdbench.plugin.loader import load_plugins

    registry = load_plugins().datasets
    spec = registry.get(name)
    if spec.build is None:
        built = ", ".join(other for other in registry if registry.get(other).build is not None)
        raise KdbenchError(f"dataset '{name}' is not made from a file", f"those that are: {built}")
    place = DataPlace.default(data_dir, progress=True)
    folder = spec.build(place, source.expanduser())
    dataset = load_dataset(spec, place)
    print(f"{folder}\nSHA-256 {dataset.sha256}{', as expected' if spec.sha256 else ''}")


@data_app.command("fetch", cls=OnceCommand)
def data_fetch(
    name: Annotated[str, typer.Argument(help="Dataset to download, or label noise whose labels exist already.")],
    data_dir: DataDir = None,
) -> None:
    """Download an image set, or labels.

    From its official place, or a mirror, and checked against a pinned checksum.
    """
    from kdbench.plugin.catalogue import catalogue

    found = catalogue()
    if name not in found.registries["label noise"]:
        found.require("dataset", [name])
    from kdbench.data import DataPlace, data_status
    from kdbench.plugin.loader import load_plugins

    place = DataPlace.default(data_dir, download=True, progress=True)
    plugins = load_plugins()
    if name in plugins.label_noises and name not in plugins.datasets:
        noise = plugins.label_noises.get(name)
        if noise.fetch is None:
            drawn = "it is drawn" if noise.read is None else "its files are your own"
            raise KdbenchError(f"label noise '{name}' is not for download", drawn)
        print(noise.fetch(place))
        return
    spec = plugins.datasets.get(name)
    if spec.fetch is None:
        ways = " or ".join(spec.ways)
        raise KdbenchError(f"dataset '{name}' is not for download", ways or "it comes with its package")
    folder = spec.fetch(place)
    status = data_status(spec, place)
    if status.state != "available":  # what was there already stays as it is, whole or not
        raise KdbenchError(status.found, f"move '{folder}' away and run the same command again")
    print(folder)
