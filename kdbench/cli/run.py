"""``kdbench run``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import (
    Attacks,
    Compile,
    DataDir,
    Device,
    Download,
    Json,
    Out,
    Tasks,
    Timeout,
    names,
    parse_params,
)
from kdbench.cli.said import WARNED, notes_once
from kdbench.errors import KdbenchError
from kdbench.seeds import parse_seeds
from kdbench.standard_output import others_on_stderr

if TYPE_CHECKING:
    from kdbench.plugin.catalogue import Catalogue
    from kdbench.results.headline import HeadlineOf
    from kdbench.results.record import Record
    from kdbench.running.answers import Asked
    from kdbench.running.options import RunOptions
    from kdbench.running.plan import Plan


@app.command(cls=OnceCommand)
def run(
    method: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", help="Methods to train, with commas or repeated; `kdbench list methods` shows all."
        ),
    ],
    suite: Annotated[str, typer.Option(help="Suite by name, or a TOML file of your own.")] = "digits",
    seed: Annotated[
        list[str] | None, typer.Option(metavar="0-4", help="Seeds: numbers and ranges; repeatable. A record each.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Method parameter as name=value, or a value of the suite behind its table, as recipe.epochs=30; "
            "repeatable.",
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Conditions, with commas or repeated; default: all that the tasks apply to."),
    ] = None,
    tasks: Tasks = None,
    attack: Attacks = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Train and measure again what is finished already.")] = False,
    download: Download = True,
    compile: Compile = True,
    timeout: Timeout = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Send log and scores there too; `kdbench list trackers` shows all; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, and say what would be trained and how long it takes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a method on a suite and measure it on every axis."""
    passed = parse_params(assignments or [])
    changes = {name: value for name, value in passed.items() if "." in name}
    from kdbench.plugin.catalogue import catalogue

    methods = dict.fromkeys(name for text in method for name in names(text) or [text])
    seeds = dict.fromkeys(number for text in seed or ["0"] for number in parse_seeds(text))
    installed = catalogue()
    installed.require("method", methods)
    installed.require("suite", [] if suite.endswith(".toml") else [suite])
    installed.require("task", names(tasks) or [])
    installed.require("tracker", track or [])
    installed.require("attack", [text.split()[0].partition(":")[0] for text in attack or [] if text.split()])
    from kdbench.running.answers import Asked

    asked = [
        Asked(
            suite=suite,
            method=name,
            seed=one,
            params={name: value for name, value in passed.items() if name not in changes},
            changes=changes,
            conditions=[name for text in condition for name in names(text) or [text]] if condition else None,
            tasks=names(tasks),
            attacks=attack,
            data_dir=data_dir,
            device=device,
            out=out,
            download=download,
            compile=compile,
            timeout=timeout,
        )
        for name in methods
        for one in seeds
    ]
    if dry_run:
        from kdbench.cli.cost import would_run, would_run_json

        with others_on_stderr():
            plans, options = _planned(asked, progress=not as_json)
            said = (would_run_json if as_json else would_run)(asked, plans, options, fresh=fresh)
        print(said)
        return
    with others_on_stderr(), notes_once():
        records, headlines = _answered(asked, installed, fresh=fresh, track=track or [], progress=not as_json)
    _print(records, headlines, out, as_json)
    if not as_json:
        _print_next(records, asked[-1])


def _answered(
    asked: list[Asked], installed: Catalogue, *, fresh: bool, track: list[str], progress: bool
) -> tuple[list[Record], HeadlineOf]:
    """The records of the runs: those that are finished, where all of them are; else they are run."""
    from kdbench.progress import say
    from kdbench.running import answers

    found = [] if fresh or track else [answers.find(one, installed) for one in asked]
    finished = [one for one in found if isinstance(one, answers.Answer)]
    if finished and len(finished) == len(asked):
        for answer in finished:
            say(answer.notes)
        known = {task: one for answer in finished for task, one in answer.headlines.items()}
        return [answer.record for answer in finished], lambda suite, task: known[task]
    from kdbench.results.headline import headline_of

    why = [one if isinstance(one, str) else "" for one in found] or [""] * len(asked)
    return _run(asked, why, installed, fresh=fresh, track=track, progress=progress), headline_of


def _planned(asked: list[Asked], *, progress: bool) -> tuple[dict[str, Plan], RunOptions]:
    """The plan of each method, and where all of them work: the last one's mistakes before the first one's training."""
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.options import RunOptions
    from kdbench.running.plan import Plan
    from kdbench.suites import load_suite
    from kdbench.suites.changes import with_changes

    first = asked[0]
    setting = with_changes(load_suite(first.suite), first.changes)
    plans = {
        one.method: Plan.make(
            setting, load_plugins(), one.method, dict(one.params), one.conditions, one.tasks, one.attacks
        )
        for one in {one.method: one for one in asked}.values()
    }
    options = RunOptions.make(
        data_dir=first.data_dir, device=first.device, out=first.out, download=first.download, progress=progress,
        compile=first.compile, timeout=first.timeout,
    )  # fmt: skip
    return plans, options


def _run(
    asked: list[Asked], why: list[str], installed: Catalogue, *, fresh: bool, track: list[str], progress: bool
) -> list[Record]:
    """Run what is not finished, find what is, and keep where each was found.

    Args:
        why: of each, why it was not found without loading everything; "" where it was, or was not looked for.
    """
    from kdbench.progress import say
    from kdbench.results.headline import headline_of
    from kdbench.running import answers
    from kdbench.running.finished import finished_notes
    from kdbench.running.headlines import remembered
    from kdbench.running.options import broke_off
    from kdbench.running.runner import record_path, run_plan

    plans, options = _planned(asked, progress=progress)
    records = []
    for one, reason in zip(asked, why, strict=True):
        plan, started = plans[one.method], time.time_ns()
        data = answers.data_files(plan, options.place)
        record = run_plan(plan, one.seed, options, fresh=fresh, track=track)
        file = record_path(record, one.out)
        if reason and file.stat().st_mtime_ns < started:
            say([f"note: torch, plugins and data were loaded to find that run {record.run_id} is finished: {reason}"])
        records.append(record)
        if not WARNED and not broke_off(file.parent):  # a warning would not be repeated
            headlines = {score.task: headline_of(record.spec.suite, score.task) for score in record.scores}
            notes = finished_notes(plan, record, options)
            answers.keep(one, installed, data, file, notes, headlines)
        remembered([record], installed)
    return records


def _print(records: list[Record], headlines: HeadlineOf, out: Path, as_json: bool) -> None:
    from kdbench.running.options import CRASH, broke_off, run_folder

    if as_json:
        texts = [record.model_dump(mode="json") for record in records]
        print(json.dumps(texts[0] if len(texts) == 1 else texts))
    else:
        _print_records(records, headlines)
        _print_beside(records, headlines)
        for record in records:
            print(run_folder(record.spec, out) / "record.json")
    failed = [record for record in records if record.status == "failed"]
    if failed:
        folder = run_folder(failed[0].spec, out)
        method = failed[0].spec.method
        advice = f"try a smaller learning rate, --set recipe.lr=..., or what `kdbench describe method {method}` shows"
        if broke_off(folder):
            advice = f"{folder / CRASH} says where; the same command goes on from the last epoch"
        raise KdbenchError(f"run {failed[0].run_id} failed: {failed[0].error}", advice)


def _print_records(records: list[Record], headlines: HeadlineOf) -> None:
    from kdbench.cli.tables import output, score_tables, seeds_tables
    from kdbench.results.wording import failed_checks

    console = output()
    for record in records:
        spec = record.spec
        title = f"{spec.method} on {spec.suite.label}, seed {spec.seed}, {record.provenance.device_name}"
        for table in score_tables(record.scores, record.checks, title, spec.suite, record.views, headlines):
            console.print(table)
        for line in failed_checks(record.checks):
            console.print(line, markup=False, highlight=False)
    by_method: dict[str, list[Record]] = {}
    for record in records:
        by_method.setdefault(record.spec.method, []).append(record)
    for method, seeds in by_method.items():
        if len(seeds) > 1:
            console.print(*seeds_tables(seeds, f"{method} on {seeds[0].spec.suite.label}", headlines))


def _print_beside(records: list[Record], headlines: HeadlineOf) -> None:
    from kdbench.cli.beside import beside_table
    from kdbench.cli.tables import output

    console = output()
    for record in records:
        table = beside_table(record, headlines) if record.status == "finished" else None
        if table is not None:
            console.print(table)


def _print_next(records: list[Record], asked: Asked) -> None:
    """What to do next, on standard error: the answer's last line stays the record's path."""
    from kdbench.cli.beside import next_commands
    from kdbench.running.options import run_folder

    own = [record for record in records if record.spec.method == records[-1].spec.method]
    folders = {record.run_id: run_folder(record.spec, asked.out) for record in own}
    print("next:", file=sys.stderr)
    for command, what in next_commands(own, folders, asked.words()):
        print(f"  {command}    # {what}", file=sys.stderr)
