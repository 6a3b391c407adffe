"""Options that several commands share, and what their text becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

PUBLISHED = Path("leaderboards/records")
"""Published records, in the working folder."""

Compile = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Compile the networks of long trainings on a GPU.")
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="KDBENCH_DATA_DIR", help="Folder of image sets, official or class folders."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, mps or xpu.")]
Download = Annotated[bool, typer.Option("--download/--no-download", help="Fetch data that are not available.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Out = Annotated[Path, typer.Option(help="Folder for runs and trained networks.")]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="ATTACK",
        help="Attack to add, with options behind its name where wanted: 'pgd steps=50'; repeatable; `kdbench list "
        "attacks` shows them.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="MINUTES", min=0, help="End a run that takes longer, as a failed one; default: no limit."),
]
Tasks = Annotated[str | None, typer.Option(help="Comma-separated tasks; default: all of the suite's.")]


def names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def parse_params(assignments: list[str]) -> dict[str, Any]:
    """What ``--set`` gives, by name."""
    from kdbench.plugin.parameters import parse_assignments

    return parse_assignments("--set", assignments)
