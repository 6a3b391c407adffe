"""Options that several commands share, and what their text becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kdbench.errors import KdbenchError

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="KDBENCH_DATA_DIR", help="Folder of image sets, official or class folders."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Download = Annotated[bool, typer.Option("--download/--no-download", help="Fetch data that are not available.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Out = Annotated[Path, typer.Option(help="Folder for runs and trained networks.")]
Attacks = Annotated[
    list[str] | None,
    typer.Option("--attack", help="Attack of a library to add; repeatable; `kdbench describe task attack` names them."),
]
Tasks = Annotated[str | None, typer.Option(help="Comma-separated tasks; default: all of the suite's.")]


def names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def parse_params(assignments: list[str]) -> dict[str, Any]:
    """``name=value`` pairs; a value that is JSON is read as such, anything else is text."""
    params_passed: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise KdbenchError(f"--set got '{assignment}'", "write it as --set name=value")
        try:
            params_passed[name] = json.loads(text)
        except json.JSONDecodeError:
            params_passed[name] = text
    return params_passed
