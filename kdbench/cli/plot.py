"""``kdbench plot``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.compare import Conditions, Folder, Suite
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json, names
from kdbench.errors import KdbenchError, unknown_name

if TYPE_CHECKING:
    from kdbench.comparing.contestants import Contestant
    from kdbench.leaderboard.axes import Column

ENDINGS = (".png", ".svg", ".pdf", ".csv")


@app.command(cls=OnceCommand)
def plot(
    words: Annotated[
        list[str], typer.Argument(metavar="STUDY", help="A study; or records: methods, folders, as for compare.")
    ],
    x: Annotated[str, typer.Option(metavar="NAME", help="Parameter, METHOD.NAME, or recipe.NAME of the suite.")],
    y: Annotated[str, typer.Option(metavar="A,B", help="Scores: clean, pgd-20, ...; a panel each.")],
    method: Annotated[str | None, typer.Option(metavar="A,B", help="Methods; default: all.")] = None,
    condition: Conditions = None,
    folder: Folder = Path("runs"),
    suite: Suite = None,
    to: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Figure (.png, .svg, .pdf) or numbers (.csv); repeatable."),
    ] = None,
    log_x: Annotated[bool, typer.Option("--log-x", help="Logarithmic scale of the parameter.")] = False,
    log_y: Annotated[bool, typer.Option("--log-y", help="Logarithmic scale of the scores.")] = False,
    caption: Annotated[bool, typer.Option("--caption/--no-caption", help="Write the caption into the figure.")] = True,
    as_json: Json = False,
) -> None:
    """Draw scores against a parameter of a study.

    A line per method, with 95 % intervals over seeds and test images; a method without the parameter is level. Without
    --condition it is the first of the suite under which a score was measured.
    """
    files = to or [Path(f"{Path(words[0]).stem}-{x}.png")]
    _check(files)
    from kdbench.comparing.contestants import find
    from kdbench.comparing.drawing import WRITERS, draw
    from kdbench.comparing.names import choose
    from kdbench.comparing.series import make_series
    from kdbench.files import write_atomically
    from kdbench.report.style import styled

    field = find(words, folder, suite, varied=x)
    contestants = _of_methods(field.contestants, names(method))
    runs = [run for one in contestants for run in one.finished]
    columns = choose(field.suite, runs, names(y), conditions=condition)
    series = make_series(contestants, columns if condition else _first_condition(columns), x)
    with styled():
        found = draw(series, field.suite.label, log_x=log_x, log_y=log_y, caption=caption)
        for file in files:
            write_atomically(file, WRITERS[file.suffix](found))
    if as_json:
        rows = [dict(zip(found.table.columns, row, strict=True)) for row in found.table.rows]
        said = {"caption": found.caption, "rows": rows, "notes": list(field.notes), "files": [str(f) for f in files]}
        print(json.dumps(said))
        return
    print(found.caption)
    for note in field.notes:
        print(f"note: {note}")
    for file in files:
        print(file)


def _check(files: Sequence[Path]) -> None:
    for file in files:
        if file.suffix not in ENDINGS:
            raise KdbenchError(f"--to {file}: ends in '{file.suffix}'", f"end it in {', '.join(ENDINGS)}")
        if not file.parent.is_dir():
            raise KdbenchError(f"no folder {file.parent}", f"make it, or name another file than {file.name}")


def _of_methods(contestants: Sequence[Contestant], wanted: Sequence[str] | None) -> list[Contestant]:
    known = {one.runs.method for one in contestants}
    for name in wanted or ():
        if name not in known:
            raise unknown_name("method with finished runs", name, known)
    return [one for one in contestants if wanted is None or one.runs.method in wanted]


def _first_condition(columns: Sequence[Column]) -> list[Column]:
    """Of each score the first of its columns."""
    first: dict[tuple[str, str, str], Column] = {}
    for column in columns:
        axis = column.axis
        first.setdefault((axis.task, axis.metric, column.headline.title), column)
    return list(first.values())
