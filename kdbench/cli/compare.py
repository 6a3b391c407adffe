"""``kdbench compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json, Tasks, names
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.comparing.contestants import Field
    from kdbench.comparing.plan import Needed
    from kdbench.comparing.table import Row
    from kdbench.comparing.writing import Text
    from kdbench.leaderboard.axes import Column

MOST_NAMED = 3
"""Contestants that a title names."""

Folder = Annotated[
    Path, typer.Option("--from", "--out", metavar="FOLDER", help="Folder of records: of runs, or published ones.")
]
Suite = Annotated[str | None, typer.Option(help="Suite, where the records are of several.")]
Conditions = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Condition; repeatable. Default: all.")]


@app.command(cls=OnceCommand)
def compare(
    words: Annotated[
        list[str],
        typer.Argument(metavar="A B [C ...]", help="Methods ('kd temperature=8'), studies, records, folders of them."),
    ],
    folder: Folder = Path("runs"),
    suite: Suite = None,
    metric: Annotated[
        str | None, typer.Option(metavar="A,B", help="Scores: clean, pgd-20, ...; default: one a task.")
    ] = None,
    tasks: Tasks = None,
    condition: Conditions = None,
    plan: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="How many seeds would show a difference of so many percentage points."),
    ] = None,
    independent_seeds: Annotated[
        bool, typer.Option("--independent-seeds", help="Don't pair seeds: as leaderboards compare.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the numbers.")] = None,
    latex: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table, for booktabs.")] = None,
    as_json: Json = False,
) -> None:
    """Compare methods, records or studies by paired tests.

    Each is compared with the first. Test images are paired, and seeds that both have. Differences have 95 % intervals;
    p-values are corrected by Holm's method over all rows of the table.
    """
    _check(plan, csv, latex)
    from kdbench.comparing.contestants import find, require_several
    from kdbench.comparing.names import choose

    field = find(words, folder, suite)
    require_several(field, words)
    columns = choose(field.suite, field.runs, names(metric), tasks=names(tasks), conditions=condition)
    if plan is None:
        _differences(field, columns, not independent_seeds, (csv, latex), as_json)
    else:
        _plan(field, columns, plan / 100, not independent_seeds, (csv, latex), as_json)


def _check(plan: float | None, *files: Path | None) -> None:
    if plan is not None and not 0 < plan <= 100:
        raise KdbenchError(f"--plan is {plan:g}, expected points above 0, at most 100", "--plan 1 for one point")
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise KdbenchError(f"no folder {file.parent}", f"make it, or name another file than {file.name}")


def _differences(
    field: Field, columns: Sequence[Column], by_seed: bool, files: tuple[Path | None, Path | None], as_json: bool
) -> None:
    from kdbench.comparing.pairs import missing
    from kdbench.comparing.table import compare as compared
    from kdbench.comparing.terms import unequal
    from kdbench.comparing.writing import differences_data, differences_text

    rows = compared(field.contestants, columns, by_seed=by_seed)
    if not rows:
        titles = ", ".join(one.title for one in field.contestants)
        raise KdbenchError(f"{titles} have no score in common", "measure them on the same tasks, under one condition")
    notes = [
        *unequal(field.contestants, {row.axis.condition for row in rows}),
        *_notes(rows),
        *missing(field.contestants, columns),
        *field.notes,
    ]
    others = list(dict.fromkeys(row.other for row in rows))
    who = ", ".join(others) if len(others) <= MOST_NAMED else f"{len(others)} others"
    said = f"{who} against {rows[0].first}, suite {field.suite.label}"
    points = "by how many percentage points it is better; * significant at 5 % after Holm's correction over the table"
    _write(field, f"{said}: {points}", differences_text(rows), differences_data(rows), notes, files, as_json)


def _notes(rows: Sequence[Row]) -> list[str]:
    """What a reader of the table must know, each once."""
    from kdbench.comparing.table import unpaired

    notes = dict.fromkeys([*(remark for row in rows for remark in row.remarks), *unpaired(rows)])
    if any(row.test in ("McNemar", "examples") for row in rows):
        notes["one seed of each: p is of these two networks on other test images (McNemar's exact test where answers "
              "are right or wrong), and says nothing of other seeds"] = None  # fmt: skip
    if any(not row.test for row in rows):
        notes["no test of one seed against several: nothing is known of how the one would vary"] = None
    notes |= dict.fromkeys(f"[!] {row.axis.title}, {flag}" for row in rows for flag in row.flags)
    return list(notes)


def _plan(
    field: Field, columns: Sequence[Column], wanted: float, by_seed: bool, files: tuple[Path | None, Path | None],
    as_json: bool,
) -> None:  # fmt: skip
    from kdbench.comparing.plan import assumptions, in_points, plan
    from kdbench.comparing.writing import needed_data, needed_text

    rows: list[Needed] = plan(field.contestants, columns, wanted, by_seed=by_seed)
    said = f"seeds that show a difference of {in_points(wanted)} from {rows[0].first}, suite {field.suite.label}"
    _write(field, said, needed_text(rows), needed_data(rows), [*assumptions(rows), *field.notes], files, as_json)


def _write(
    field: Field, said: str, text: Text, data: list[dict[str, Any]], notes: list[str],
    files: tuple[Path | None, Path | None], as_json: bool,
) -> None:  # fmt: skip
    from kdbench.comparing.writing import to_csv
    from kdbench.files import write_atomically

    csv, latex = files
    if csv is not None:
        write_atomically(csv, to_csv(data).encode("utf-8", "replace"))
    if latex is not None:
        write_atomically(latex, text.to_latex(said).encode("utf-8", "replace"))
    if as_json:
        compared = [
            {"title": one.title, "runs": {run.record.spec.seed: run.record.run_id for run in one.finished}}
            for one in field.contestants
        ]
        print(json.dumps({"suite": field.suite.label, "compared": compared, "rows": data, "notes": notes}))
        return
    from kdbench.cli.tables import numbers, output

    output().print(numbers(said, text.columns, text.rows))
    for note in notes:
        print(f"note: {note}")
    for file in (csv, latex):
        if file is not None:
            print(file)
