"""The command line's root: what ``kdbench`` is called with."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="kdbench",
    help="How good is a training method, on every axis at once? `kdbench run --method nrd` trains it and measures it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
