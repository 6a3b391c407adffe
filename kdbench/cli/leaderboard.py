"""``kdbench leaderboard``: from records to a page, and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.apart import record_apart
from kdbench.cli.app import app
from kdbench.cli.listing import NARROW, terminal_width
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import PUBLISHED, Compile, DataDir, Device, Download, Json, Out, Tasks, Timeout, names
from kdbench.standard_output import others_on_stderr

leaderboard_app = typer.Typer(help="Records to a page, and back: rank, check, submit, publish.", no_args_is_help=True)
app.add_typer(leaderboard_app, name="leaderboard")

SITE = Path("site")
RETRAININGS = Path("retrained")
Records = Annotated[Path, typer.Argument(help="Folder of records: published ones, or runs.")]


def _say(line: object) -> None:
    """One line of plain text, whatever an untrusted record put into it."""
    print(str(line).encode("utf-8", "backslashreplace").decode())


@leaderboard_app.command(cls=OnceCommand)
def build(
    records: Records = PUBLISHED,
    out: Annotated[Path, typer.Option(help="Folder for the site.")] = SITE,
    index: Annotated[Path | None, typer.Option(help="Also write the boards in short, as JSON, to this file.")] = None,
    docs: Annotated[
        str, typer.Option(help="Documentation that pages link to: an address, or a path in the site; default: none.")
    ] = "",
    repository: Annotated[
        str | None, typer.Option(metavar="URL", help="https address of the records' git repository, to link files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank records, one board per suite, and write the pages."""
    from kdbench.leaderboard.index import write_index
    from kdbench.leaderboard.ranking import rank
    from kdbench.leaderboard.site import build as build_site
    from kdbench.leaderboard.site.repository import Repository
    from kdbench.results.untrusted import plain
    from kdbench.results.wording import counted

    linked = None if repository is None else Repository.of(repository, records)
    boards = rank(records) if index is None else write_index(records, index)
    files = build_site(boards, out, docs, linked)
    excluded = [*boards.excluded, *(one for board in boards.boards for one in board.excluded)]
    if as_json:
        ranked = {board.suite: len(board.rows) for board in boards.boards}
        unranked = [{"path": str(one.path), "reason": one.reason} for one in excluded]
        print(json.dumps({"out": str(out), "files": len(files), "ranked": ranked, "excluded": unranked}))
        return
    if not boards.boards:
        _say(f"nothing to rank in {records}: `kdbench run` makes records")
    for board in boards.boards:
        left_out = f"{counted(len(board.excluded), 'record')} excluded"
        _say(f"{plain(board.suite)}: {counted(len(board.rows), 'method')}, {left_out}")
    for one in excluded:
        _say(f"excluded: {plain(one.path)}: {plain(one.reason)}")
    _say(out / "index.html")


@leaderboard_app.command(cls=OnceCommand)
def show(
    records: Records = PUBLISHED,
    suite: Annotated[str | None, typer.Option(help="One suite, with its changes; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Print the ranking, as the page has it.

    One table per suite, in blocks of columns that fit the terminal, or 80 characters.
    """
    from kdbench.cli.ranking import ranking_text
    from kdbench.errors import unknown_name
    from kdbench.leaderboard.index import make_index
    from kdbench.leaderboard.ranking import rank

    found = rank(records)
    known = [board.suite for board in found.boards]
    if suite is not None and suite not in known:
        raise unknown_name("suite with records", suite, known, f"these are ranked in {records}")
    kept = [board for board in found.boards if suite in (None, board.suite)]
    if as_json:
        print(json.dumps(make_index(dataclasses.replace(found, boards=tuple(kept)), records)))
        return
    if not kept:
        _say(f"nothing to rank in {records}: `kdbench run` makes records")
    else:
        _say("\n\n".join(ranking_text(board, terminal_width(NARROW)) for board in kept))


@leaderboard_app.command(cls=OnceCommand)
def export(
    to: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")],
    records: Records = PUBLISHED,
) -> None:
    """Write all scores as one table, for a spreadsheet or pandas."""
    from kdbench.leaderboard.export import load, save

    save(load(records), to)
    _say(to)


@leaderboard_app.command(cls=OnceCommand)
def validate(
    files: Annotated[list[Path], typer.Argument(help="Records, run folders, or folders of any of them.")],
    as_json: Json = False,
) -> None:
    """Check that records can be what they say.

    Every problem with its field and line, and what the scores rest on: checked ones are the mean of their per-example
    results, derived ones were recomputed from others, unchecked ones only measuring again can tell. Exit status 1 for
    an error.
    """
    from kdbench.errors import plain
    from kdbench.leaderboard.accounting import BASES
    from kdbench.leaderboard.validate import copied, examine, record_files
    from kdbench.results.wording import counted

    paths = record_files(files)
    found = [examine(path) for path in paths]
    problems = [*(problem for one in found for problem in one.problems), *copied(paths)]
    scores = [(basis, score) for one in found for basis, those in one.scores.items() for score in those]
    bases = {basis: sum(found == basis for found, _ in scores) for basis in BASES}
    unchecked = sorted({f"{score.task}/{score.metric}" for basis, score in scores if basis == "unchecked"})
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        listed = {"problems": [p.to_dict() for p in problems], "scores": bases, "unchecked": unchecked}
        print(json.dumps({"records": len(paths), "errors": errors, **listed}))
    else:
        for problem in problems:
            _say(problem)
        kinds = f"{counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}"
        shown = f", such as {', '.join(map(plain, unchecked[:4]))}" if unchecked else ""
        if scores:
            _say(f"scores: {', '.join(f'{number} {basis}' for basis, number in bases.items())}{shown}")
        _say(f"{counted(len(paths), 'record')}: {kinds}")
    raise typer.Exit(int(errors > 0))


@leaderboard_app.command(cls=OnceCommand)
def verify(
    file: Annotated[Path, typer.Argument(help="The record, or a run's folder.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="The record's: a file or an https address; default: each that lies beside it.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="This one's alone; default: each whose checkpoint there is.")
    ] = None,
    tasks: Tasks = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Sample of so many test images; default: all.")] = None,
    sample_seed: Annotated[int | None, typer.Option(min=0, help="Draws the sample; default: one never used.")] = None,
    train: Annotated[bool, typer.Option("--train", help="Train networks of the suite that a task attacks by.")] = False,
    partly: Annotated[
        bool, typer.Option("--partly", help="Do not fail for tasks that cannot be measured here.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Every score, not a summary of five lines.")] = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    download: Download = True,
    as_json: Json = False,
) -> None:
    """Measure a record's checkpoints again, and compare each score.

    It is the same, within its interval, not, not reproduced, or unchecked where it was not measured. On the processor
    of the record, with its threads and versions, it must be the same. A summary of at most five lines; --all shows each
    score. Exit status 1 for a score that is not reproduced, a check or a label that is another one, and a task that
    cannot be measured here.
    """
    from kdbench.leaderboard.verify import verify as measure
    from kdbench.results.evidence import record_at
    from kdbench.running.options import RunOptions

    file = record_at(file)
    record_apart(file, checkpoint)
    options = RunOptions.make(data_dir=data_dir, device=device, out=out, download=download, progress=not as_json)
    found = measure(
        file, checkpoint, condition=condition, tasks=names(tasks), examples=examples, sample_seed=sample_seed,
        train=train, options=options,
    )  # fmt: skip
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        from kdbench.cli.verification import every_line, summary

        for line in every_line(found) if every else summary(found):
            _say(line)
    raise typer.Exit(int(not found.holds(partly=partly)))


@leaderboard_app.command(cls=OnceCommand)
def reproduce(
    file: Annotated[Path, typer.Argument(help="The record, or a run's folder.")],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who you are: writes an attestation beside the record.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Folder of retrainings, none that the record lies in.")] = RETRAININGS,
    download: Download = True,
    compile: Compile = True,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Train a record's specification again, and compare each score.

    On the processor of the record, with its threads and versions, it must be the same; elsewhere it may differ by what
    the intervals of both allow. --by writes what came of it to a small file beside the record, which `submit` carries
    and the board reads: "reproduced by NAME". Exit status 1 for a score that is not reproduced, and for what else is
    another one.
    """
    from kdbench.leaderboard.retraining import check_person, retrain
    from kdbench.results.evidence import record_at
    from kdbench.running.options import RunOptions

    if by is not None:
        check_person(by)
    file = record_at(file)
    record_apart(file)
    options = RunOptions.make(
        data_dir=data_dir, device=device, out=out, download=download, progress=not as_json, compile=compile,
        timeout=timeout,
    )  # fmt: skip
    with others_on_stderr():
        found = retrain(file, options, attested=by is not None)
    written = None if by is None else found.attest(by)
    if as_json:
        print(json.dumps({**found.to_dict(), "attestation": None if written is None else str(written)}))
    else:
        from kdbench.cli.verification import every_line

        for line in every_line(found):
            _say(line)
        if written is not None:
            _say(written)
    raise typer.Exit(int(not found.agreed))


@leaderboard_app.command("diff", cls=OnceCommand)
def diff_(
    old: Annotated[Path, typer.Argument(help="Folder of records, index file, or record.")],
    new: Annotated[Path, typer.Argument(help="The same, later.")],
    every: Annotated[bool, typer.Option("--all", help="Show also what moved within its interval.")] = False,
    as_json: Json = False,
) -> None:
    """Say what differs between two leaderboards or records.

    What was added, removed, or changed beyond its interval, and which rows have other seeds or another place. Exit
    status 1 when anything was added, removed or changed; what moved within its interval, or to another place, is none.
    """
    from kdbench.leaderboard.diff import diff

    changes = diff(old, new)
    if as_json:
        print(json.dumps([change.to_dict() for change in changes]))
    else:
        for change in changes:
            if every or change.kind != "moved" or change.what == "row":
                _say(change)
        kinds = [f"{sum(change.kind == kind for change in changes)} {kind}" for kind in _KINDS]
        _say(f"{', '.join(kinds)} within the intervals")
    raise typer.Exit(int(any(change.kind != "moved" for change in changes)))


_KINDS = ("added", "removed", "changed", "moved")


@leaderboard_app.command(cls=OnceCommand)
def submit(
    record: Annotated[Path, typer.Argument(help="A run's folder, or its record.json.")],
    to: Annotated[Path, typer.Option(help="Folder of published records.")] = PUBLISHED,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Copy its networks too, of 1 MiB at most, for `verify`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy a valid record to its place, and print the pull request.

    The place is among the published records.
    """
    from kdbench.leaderboard.submit import submit as copy

    new = not to.exists()
    done = copy(record, to, checkpoints=checkpoints)
    if as_json:
        print(json.dumps(done.to_dict()))
        return
    for path in done.written:
        typer.echo(f"wrote {path}", err=True)
    if new:
        typer.echo(f"note: {to} is a new folder: the project's records lie in its checkout (--to)", err=True)
    if not done.written:
        typer.echo(f"{done.record} was there already", err=True)
    if done.missing:
        typer.echo(f"warning: not measured: {', '.join(done.missing)}: the row has no mean rank", err=True)
    _say(f"{done.title}\n\n{done.body}")


@leaderboard_app.command(cls=OnceCommand)
def publish(
    to: Annotated[str, typer.Option(help="Folder, or git:REMOTE#BRANCH.")],
    site: Annotated[Path, typer.Argument(help="The built site.")] = SITE,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "Leaderboard",
    as_json: Json = False,
) -> None:
    """Put a built site where it is served. Nothing is forced, and only an earlier publication's files are replaced."""
    from kdbench.leaderboard.publish import publish as put

    done = put(site, to, message=message)
    if as_json:
        print(json.dumps(vars(done)))
        return
    at = f" at {done.commit[:12]}" if done.commit else ""
    _say(f"{done.files} files {'published to' if done.changed else 'are already at'} {to}{at}")
