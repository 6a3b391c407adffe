"""``kdbench report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import DataDir, Device, Json


@app.command(cls=OnceCommand)
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or record files; several are put side by side.")],
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path("report"),
    data_dir: DataDir = None,
    device: Device = "auto",
    views: Annotated[int, typer.Option(min=1, help="Most transformed views K of the label-correction table.")] = 8,
    images: Annotated[
        int | None, typer.Option(min=1, help="Training images it looks at; default: all, 2,000 on a CPU.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write finished runs as one page of figures and numbers.

    Several runs are put side by side.
    """
    from kdbench.report import write_report

    written = write_report(
        runs, out, data_dir=data_dir, device=device, views=views, images=images, progress=not as_json
    )
    if as_json:
        print(
            json.dumps(
                {
                    "page": str(written.page),
                    "files": [str(path) for path in written.files],
                    "missing": {part.title: list(part.reasons) for part in written.missing},
                }
            )
        )
        return
    for part in written.missing:
        print(f"left out: {part.title}: {'; '.join(part.reasons)}")
    print(written.page)
