"""``kdbench runs``: what lies in a folder."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Json

if TYPE_CHECKING:
    from kdbench.results.headline import HeadlineOf
    from kdbench.results.record import Record, Score
    from kdbench.running.inventory import Found

RUNS = Path("runs")


@app.command(cls=OnceCommand)
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of runs, or one in it; or of published records.")] = RUNS,
    suite: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only of this suite; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only of this method; repeatable.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table of comma-separated values.")] = False,
    as_json: Json = False,
) -> None:
    """List what lies in a folder of runs, the newest last.

    Of each run its suite, method, what was changed by hand, seed, state and headline scores. What is interrupted says
    at which epoch, and what is damaged in which way.
    """
    from kdbench.errors import KdbenchError
    from kdbench.running.inventory import inventory

    if as_csv and as_json:
        raise KdbenchError("runs got --csv and --json", "choose one of them")
    found = inventory(folder)
    for kind, wanted, known in (
        ("suite", suite, {one.suite for one in found}),
        ("method", method, {one.method for one in found}),
    ):
        _check(kind, wanted or [], known, folder)
    kept = [one for one in found if one.suite in (suite or [one.suite]) and one.method in (method or [one.method])]
    rows = list(_rows(kept))
    if as_json:
        print(json.dumps(rows))
    elif as_csv:
        _print_csv(rows)
    elif rows:
        _print_table(rows, folder)
    else:
        print(f"no runs in {folder}: `kdbench run` makes some")


def _check(kind: str, wanted: list[str], known: set[str], folder: Path) -> None:
    from kdbench.errors import unknown_name

    for name in wanted:
        if name not in known:
            raise unknown_name(f"{kind} with runs", name, known, f"these have runs in {folder}")


def _rows(found: list[Found]) -> Iterable[dict[str, Any]]:
    """Each run as a JSON value."""
    from kdbench.plugin.catalogue import catalogue
    from kdbench.running.headlines import remembered

    records = [one.record for one in found if one.record is not None]
    headlines = remembered(records, catalogue()) if records else None
    for one in found:
        scores = [] if one.record is None or headlines is None else list(_headline_scores(one.record, headlines))
        yield {
            "suite": one.suite,
            "method": one.method,
            "changed": None if one.changed is None else dict(one.changed),
            "seed": one.seed,
            "state": one.state,
            "note": one.note,
            "scores": scores,
            "when": one.when,
            "run_id": one.run_id,
            "folder": str(one.path),
        }


def _headline_scores(record: Record, headlines: HeadlineOf) -> Iterable[dict[str, Any]]:
    """The score that stands for each task under each condition."""
    from kdbench.results.headline import first_headline

    by_task: dict[tuple[str, str], list[Score]] = {}
    for score in record.scores:
        by_task.setdefault((score.condition, score.task), []).append(score)
    for (condition, task), own in by_task.items():
        headline = headlines(record.spec.suite, task) or first_headline(task, own)
        for score in [one for one in own if headline.means(one)][:1]:
            yield {
                "title": headline.title,
                "condition": condition,
                "task": task,
                **score.model_dump(include={"metric", "value", "ci_low", "ci_high", "unit", "n"}),
                "flagged": bool(record.flags(score)),
            }


def _print_csv(rows: list[dict[str, Any]]) -> None:
    """A row a run, and a column a headline: ``<condition> <title>``."""
    names = list(dict.fromkeys(_name(score) for row in rows for score in row["scores"]))
    facts = ["suite", "method", "changed", "seed", "state", "note", "when", "run_id", "folder"]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow([*facts, *names])
    for row in rows:
        values = {_name(score): score["value"] for score in row["scores"]}
        texts = {**row, "changed": "" if row["changed"] is None else json.dumps(row["changed"])}
        table.writerow([*(texts[name] for name in facts), *(values.get(name, "") for name in names)])


def _name(score: dict[str, Any]) -> str:
    return f"{score['condition']} {score['title']}"


def _print_table(rows: list[dict[str, Any]], folder: Path) -> None:
    from kdbench.cli.listing import listing
    from kdbench.errors import plain
    from kdbench.plugin.parameters import as_assignments

    table = [
        (
            plain(row["suite"]),
            " ".join(map(plain, (row["method"], *as_assignments(row["changed"] or {})))),
            "?" if row["seed"] is None else str(row["seed"]),
            plain(": ".join(filter(None, (row["state"], row["note"])))),
            plain(_numbers(row["scores"])),
            plain(Path(row["folder"]).relative_to(folder)) if Path(row["folder"]) != folder else ".",
        )
        for row in rows
    ]
    print(listing(table, ("suite", "method", "seed", "state", "scores", "folder")))


def _numbers(scores: list[dict[str, Any]]) -> str:
    """Headlines in short; the condition is said where it changes."""
    parts, condition = [], None
    several = len({score["condition"] for score in scores}) > 1
    for score in scores:
        value = f"{100 * score['value']:.1f}" if score["unit"] == "fraction" else f"{score['value']:.4g}"
        where = f"{score['condition']}: " if several and score["condition"] != condition else ""
        parts.append(f"{where}{score['title']} {value}{' [!]' if score['flagged'] else ''}")
        condition = score["condition"]
    return ", ".join(parts)
