"""``kdbench sweep``: a whole study by one command."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Attacks, DataDir, Device, Download, Json, Out, Tasks, names
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.studies.folder import StudyFolder
    from kdbench.studies.nodes import Node
    from kdbench.studies.study import Study
    from kdbench.studies.sweep import Standing

STATUS = "status"


@app.command(cls=OnceCommand)
def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STUDY.toml | status STUDY]", help="A study's file; or `status` and a study's name."),
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="A,B", help="Methods of the study.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="0-4", help="Seeds: numbers and ranges.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="[METHOD.]NAME=A,B", help="Values of a parameter, crossed with all others; repeatable."
        ),
    ] = None,
    zipped: Annotated[
        list[str] | None,
        typer.Option("--zip", metavar="[METHOD.]NAME=A,B", help="The same for lists that go together; repeatable."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Suite by name, or a TOML file of your own.")] = None,
    condition: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Condition; repeatable.")] = None,
    tasks: Tasks = None,
    attack: Attacks = None,
    name: Annotated[str | None, typer.Option(help="Of the study, and of its folder.")] = None,
    executor: Annotated[str | None, typer.Option(help="Engine that computes.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Nodes at a time.")] = None,
    per_gpu: Annotated[
        int | None, typer.Option(min=1, help="Nodes at a time on one GPU; by earlier records where left out.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each worker.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="auto|HOST:PORT", help="Of a Ray cluster, for --executor ray.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show nodes, order and time, and start nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do again what failed.")] = False,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--submit", help="Watch until all is done, or hand in and go: the default of an engine with a queue."
        ),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    download: Download = True,
    compile: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the networks of long trainings on a GPU.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a study: methods x parameters x seeds.

    Networks that several runs need are trained once; what is finished is not done again.
    """
    given = {
        "methods": names(method), "seeds": seed, "suite": suite, "conditions": condition, "tasks": names(tasks),
        "attacks": attack, "name": name, "executor": executor, "threads": threads, "compile": compile,
    }  # fmt: skip
    more = {key: value for key, value in given.items() if value is not None}
    if words and words[0] == STATUS:
        _status(words[1:], out, more, as_json)
        return
    from kdbench.plugin.catalogue import catalogue

    catalogue().require("method", names(method) or [])
    from kdbench.running.options import RunOptions
    from kdbench.studies.executors import make_executor
    from kdbench.studies.folder import StudyFolder
    from kdbench.studies.schedule import Queue
    from kdbench.studies.show import watched
    from kdbench.studies.sweep import Standing, plan_study

    asked = {"workers": workers, "per_gpu": per_gpu, "address": address}
    settings = {key: value for key, value in asked.items() if value is not None}
    study = _study(words or [], more, assignments or [], zipped or [], settings)
    options = RunOptions.make(
        data_dir=data_dir, device=device, out=out, download=download, progress=not (as_json or dry_run)
    )
    folder = StudyFolder(out, study.name)
    engine = None if dry_run else make_executor(folder, study, options)
    plan = plan_study(study, options)
    if engine is None:
        _dry_run(Standing.read(folder, plan), out, retry_failed, as_json)
        return
    queue = isinstance(engine, Queue)
    if wait is False and not queue:
        raise KdbenchError(f"executor {study.executor} has no queue to submit to", "leave out --submit")
    standing, jobs = watched(folder, plan, engine, wait=wait or not queue, retry_failed=retry_failed)
    _finish(standing, folder, jobs, as_json)


def _study(
    words: list[str], more: dict[str, Any], crossed: list[str], zipped: list[str], settings: dict[str, Any]
) -> Study:
    from kdbench.plugin.parameters import parse_assignments
    from kdbench.studies.study import make_study, parse_sweep, read_study

    if len(words) > 1:
        raise KdbenchError(f"sweep got {len(words)} studies: {', '.join(words)}", "it takes one file")
    if words:
        study = read_study(Path(words[0]), **more)
    elif "methods" in more:
        study = make_study("the command line", {"name": "sweep", **more})
    else:
        raise KdbenchError("sweep got neither a study's file nor --method", "kdbench sweep --method kd,nrd --seed 0-4")
    update: dict[str, Any] = {}
    for key, texts in (("parameters", crossed), ("zipped", zipped)):
        where = "--set" if key == "parameters" else "--zip"
        table = parse_sweep(texts, study.methods, parse_assignments, where=where)
        update[key] = _merged(getattr(study, key), table)
    if settings:
        update["engine"] = _merged(study.engine, {study.executor: settings})
    return study.model_copy(update=update)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = {**found[key], **value} if both else value
    return found


def _dry_run(standing: Standing, out: Path, retry_failed: bool, as_json: bool) -> None:
    from kdbench.progress import in_words
    from kdbench.studies.estimate import Estimate

    plan = standing.plan
    conditions = plan.study.conditions or tuple(plan.suite.conditions)
    estimate = Estimate.of_folder(out, plan.suite)
    nodes = {node.key: node for node in plan.nodes}
    order = [nodes[key] for key in standing.schedule(retry_failed=retry_failed).order()]
    times = {node.key: estimate.seconds(node, conditions) for node in order}
    if as_json:
        rows = [_row(standing, node) | {"seconds": times[node.key]} for node in order]
        print(json.dumps({"study": plan.study.name, "done": standing.count("done"), "order": rows}))
        return
    from rich.table import Table

    from kdbench.cli.tables import output

    table = Table("order", "node", "needs", "time", box=None, pad_edge=False)
    for place, node in enumerate(order, 1):
        time = times[node.key]
        waits = sum(need in times for need in node.needs)
        table.add_row(str(place), node.title, f"{waits} before it" if waits else "", in_words(time) if time else "?")
    output().print(table)
    known = [time for time in times.values() if time is not None]
    unknown = len(order) - len(known)
    print(f"study '{plan.study.name}': {_counts(standing)}")
    if order:
        parts = [f"left: {len(order)} nodes"]
        if known:
            parts.append(f"about {in_words(sum(known))} of one worker by {estimate.n} earlier records")
        if unknown:
            parts.append(f"how long {unknown if known else 'they'} will take no earlier record says")
        print("; ".join(parts))


def _row(standing: Standing, node: Node) -> dict[str, Any]:
    facts = {"key": node.key, "kind": node.kind, "title": node.title, "state": standing.states[node.key]}
    return facts | ({"error": standing.errors[node.key]} if node.key in standing.errors else {})


def _queue_word(waits: Mapping[str, str], node: Node) -> dict[str, str]:
    return {"queue": waits[node.key]} if node.key in waits else {}


def _status(words: list[str], out: Path, more: dict[str, Any], as_json: bool) -> None:
    from kdbench.studies.executors import queued
    from kdbench.studies.sweep import Standing, find_study

    if len(words) != 1 or more:
        raise KdbenchError("sweep status takes one study", "kdbench sweep status NAME, with --out where it lies")
    folder = find_study(out, words[0])
    standing = Standing.read(folder)
    waits = queued(folder, standing.plan.study)
    if as_json:
        rows = [_row(standing, node) | _queue_word(waits, node) for node in standing.plan.nodes]
        print(json.dumps({"study": folder.name, "running": folder.is_driven(), "nodes": rows}))
        return
    from rich.table import Table

    from kdbench.cli.tables import output

    blocked = standing.blocked()
    table = Table("node", "state", box=None, pad_edge=False)
    for node in standing.plan.nodes:
        state = "blocked" if node.key in blocked else standing.states[node.key]
        table.add_row(node.title, state if state == "done" else waits.get(node.key, state))
    output().print(table)
    _errors(standing, folder)
    print(f"study '{folder.name}': {_counts(standing)}" + ("; running" if folder.is_driven() else ""))


def _finish(standing: Standing, folder: StudyFolder, jobs: Mapping[str, str], as_json: bool) -> None:
    """The summary, and exit status 1 where something failed."""
    if as_json:
        rows = [_row(standing, node) | _queue_word(jobs, node) for node in standing.plan.nodes]
        print(json.dumps({"study": folder.name, "nodes": rows}))
    else:
        _errors(standing, folder)
        print(f"study '{folder.name}': {_counts(standing)}; records in {folder.out / standing.plan.suite.name}")
        if jobs:
            print(f"{len(jobs)} nodes are in the queue; `kdbench sweep status {folder.name}` shows how they stand")
    if standing.errors or standing.blocked():
        raise typer.Exit(1)


def _errors(standing: Standing, folder: StudyFolder) -> None:
    for node in standing.plan.nodes:
        if node.key in standing.errors:
            print(f"failed: {node.title}: {standing.errors[node.key]}", file=sys.stderr)
            print(f"        {folder.log(node.key)}", file=sys.stderr)


def _counts(standing: Standing) -> str:
    runs, blocked = sum(node.kind == "run" for node in standing.plan.nodes), len(standing.blocked())
    shared = len(standing.plan.nodes) - runs
    parts = [f"{standing.count('done', 'run')} of {runs} runs done"]
    if shared:
        parts.append(f"{standing.count('done', 'training')} of {shared} shared networks trained")
    if standing.errors:
        parts.append(f"{len(standing.errors)} failed")
    if blocked:
        parts.append(f"{blocked} blocked by them")
    return ", ".join(parts)
