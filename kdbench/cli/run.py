"""``kdbench run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Attacks, Compile, DataDir, Device, Download, Json, Out, Tasks, names, parse_params
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.results.record import Record


@app.command(cls=OnceCommand)
def run(
    method: Annotated[
        list[str], typer.Option(metavar="NAME", help="Method to train; repeatable; `kdbench list methods` shows all.")
    ],
    suite: Annotated[str, typer.Option(help="Suite by name, or a TOML file of your own.")] = "digits",
    seed: Annotated[
        list[int] | None, typer.Option(metavar="N", min=0, help="Seed; several give several records.")
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
        list[str] | None, typer.Option(metavar="NAME", help="Condition; repeatable; default: all.")
    ] = None,
    tasks: Tasks = None,
    attack: Attacks = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Train and measure again what is finished already.")] = False,
    download: Download = True,
    compile: Compile = True,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Send log and scores to tensorboard or mlflow as well; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a method on a suite and measure it on every axis."""
    passed = parse_params(assignments or [])
    changes = {name: value for name, value in passed.items() if "." in name}
    params_passed = {name: value for name, value in passed.items() if name not in changes}
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.runner import record_path
    from kdbench.running.runner import run as run_one
    from kdbench.suites import load_suite
    from kdbench.suites.changes import with_changes

    for name in method:  # the last one's mistakes before the first one's training
        load_plugins().methods.get(name).validate(params_passed)
    setting = with_changes(load_suite(suite), changes)

    records = [
        run_one(
            setting,
            name,
            seed=one,
            params=params_passed,
            conditions=condition or None,
            tasks=names(tasks),
            attacks=attack,
            data_dir=data_dir,
            device=device,
            out=out,
            fresh=fresh,
            download=download,
            track=track or (),
            progress=not as_json,
            compile=compile,
        )
        for name in dict.fromkeys(method)
        for one in dict.fromkeys(seed or [0])
    ]
    if as_json:
        texts = [record.model_dump(mode="json") for record in records]
        print(json.dumps(texts[0] if len(texts) == 1 else texts))
    else:
        _print_records(records)
        for record in records:
            print(record_path(record, out))
    failed = [record for record in records if record.status == "failed"]
    if failed:
        raise KdbenchError(f"run {failed[0].run_id} failed: {failed[0].error}", "try a smaller learning rate or --set")


def _print_records(records: list[Record]) -> None:
    from kdbench.cli.tables import output, score_tables, seeds_tables
    from kdbench.results.wording import failed_checks

    console = output()
    for record in records:
        spec = record.spec
        title = f"{spec.method} on {spec.suite.label}, seed {spec.seed}, {record.provenance.device_name}"
        console.print(*score_tables(record.scores, record.checks, title, spec.suite, record.views))
        for line in failed_checks(record.checks):
            console.print(line, markup=False, highlight=False)
    by_method: dict[str, list[Record]] = {}
    for record in records:
        by_method.setdefault(record.spec.method, []).append(record)
    for method, seeds in by_method.items():
        if len(seeds) > 1:
            console.print(*seeds_tables(seeds, f"{method} on {seeds[0].spec.suite.label}"))
