"""The command line's root: what ``kdbench`` is called with."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer(
    name="kdbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Without a default for it, typer imports pydantic to find that `--help` was not given.
    context_settings={"help_option_names": ["-h", "--help"], "default_map": {"help": False}},
)


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        print(f"kdbench {importlib.metadata.version('kdbench')}")
        raise typer.Exit


def _no_plugins(asked: bool) -> None:
    if asked:
        from kdbench.plugin.loader import CHOSEN, NONE

        os.environ[CHOSEN] = NONE  # workers inherit it


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins",
            callback=_no_plugins,
            is_eager=True,
            help="Load no plugin but kdbench's own; KDBENCH_PLUGINS=NAME,... loads some.",
        ),
    ] = False,
) -> None:
    """How good is a training method, on every axis at once? `kdbench run --method nrd` trains it and measures it."""
