"""``kdbench report``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import DataDir, Device, Json

if TYPE_CHECKING:
    from kdbench.report import Report


@app.command(cls=OnceCommand)
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders or record files, side by side; or the name of a study.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path("report"),
    folder: Annotated[
        Path, typer.Option("--from", metavar="FOLDER", help="Folder of runs that a study lies in.")
    ] = Path("runs"),
    data_dir: DataDir = None,
    device: Device = "auto",
    views: Annotated[int, typer.Option(min=1, help="Most transformed views K of the label-correction table.")] = 8,
    images: Annotated[
        int | None, typer.Option(min=1, help="Training images it looks at; default: all, 2,000 on a CPU.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write finished runs as one page of figures and numbers.

    Several runs are put side by side. Of a study it is its scores against each parameter that varies, as
    `kdbench plot` draws them.
    """
    written = _of_study(runs[0], folder, out) if _is_study(runs, folder) else None
    if written is None:
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


def _is_study(runs: Sequence[Path], folder: Path) -> bool:
    """Whether a study of that folder is meant: a word that is no path."""
    from kdbench.studies.folder import STUDIES

    name = runs[0].stem if runs[0].suffix == ".toml" else str(runs[0])
    return len(runs) == 1 and runs[0].name == str(runs[0]) and (folder / STUDIES / name / "plan.json").is_file()


def _of_study(study: Path, folder: Path, out: Path) -> Report:
    from kdbench.comparing.study_report import write_study_report

    return write_study_report(str(study), folder, out)
