"""``kdbench reproduce``: published tables and figures, measured again; and what papers claim, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.app import app
from kdbench.cli.listing import listing
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Compile, DataDir, Device, Download, Json, Out
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.claims.findings import Finding

LIST = "list"


@app.command(cls=OnceCommand)
def reproduce(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID | list [ID]...]",
            help="A table or figure, as arani/fig4; `list` shows all. With --claims: claims by name; default: all.",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="smoke (default): minutes; lite: small networks on a CPU; short: the paper's networks, few epochs; "
            "full: the paper's setting."
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0-4", help="Seeds; default: the scale's.")] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FOLDER", help="Read these records, and run nothing; repeatable."),
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = Path("reproductions"),
    executor: Annotated[str | None, typer.Option(help="Engine that computes: local, ray or slurm.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each worker.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show what would run; start nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do again what failed.")] = False,
    claims: Annotated[bool, typer.Option("--claims", help="Check what the papers of the methods claim.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the claims, and train nothing.")] = False,
    suite: Annotated[str | None, typer.Option(help="Suite to check claims on; default: each claim's own.")] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=0, help="Seed of claims, repeatable; default: 0, 1 and 2."),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    download: Download = True,
    compile: Compile = True,
    as_json: Json = False,
) -> None:
    """Measure a published table or figure again.

    ID: train what is missing, and write published and measured numbers with verdicts to TO/ID/SCALE. With --claims:
    check what papers claim, and add to OUT/claims.json. Each comparison of a claim holds, fails (its opposite is
    significant), or is not shown (the interval leaves it open; then the output says how many seeds would decide it);
    the claim is counted out so.
    """
    words = name or []
    of_items = {
        "--scale": scale, "--seeds": seeds, "--from": records, "--executor": executor, "--workers": workers,
        "--threads": threads, "--dry-run": dry_run, "--retry-failed": retry_failed,
    }  # fmt: skip
    if claims:
        _refuse(of_items, "goes with a table or figure, not with --claims")
        options = {"data_dir": data_dir, "device": device, "out": out, "download": download, "compile": compile}
        _claims(words, list_, suite, seed, options, as_json)
        return
    _refuse({"--list": list_, "--suite": suite, "--seed": seed}, "goes with --claims")
    if not words:
        raise KdbenchError(
            "nothing says what to reproduce", "`kdbench reproduce list` shows all; --claims checks claims"
        )
    from kdbench.cli import reproductions
    from kdbench.plugin.catalogue import catalogue

    installed = catalogue()
    if words[0] == LIST:
        asked = reproductions.of_papers(words[1:], installed.registries["reproduction"].names())
        installed.require("reproduction", asked)
        _refuse({key: one for key, one in of_items.items() if key != "--from"}, "does not go with list")
        reproductions.show(asked, out, records or [], as_json)
        return
    installed.require("reproduction", words)
    if len(words) > 1:
        raise KdbenchError(f"reproduce got {len(words)} tables and figures", "it takes one")
    engine = {"executor": executor, "threads": threads}
    reproductions.reproduce(
        words[0], scale, seeds, records or [], to, as_json=as_json, dry_run=dry_run, retry_failed=retry_failed,
        engine={key: one for key, one in engine.items() if one is not None} | {"compile": compile},
        workers=workers, options={"data_dir": data_dir, "device": device, "out": out, "download": download},
    )  # fmt: skip


def _refuse(options: dict[str, Any], why: str) -> None:
    for option, value in options.items():
        if value not in (None, False, []):
            raise KdbenchError(f"{option} {why}", "leave it out; `kdbench reproduce --help` shows what there is")


def _claims(
    names: list[str], list_: bool, suite: str | None, seeds: list[int] | None, options: dict[str, Any], as_json: bool
) -> None:
    from kdbench.plugin.catalogue import catalogue

    installed = catalogue()
    installed.require("claim", names)
    installed.require("suite", [suite] if suite and not suite.endswith(".toml") else [])
    if list_:
        _list(names, suite, as_json)
        return
    from kdbench.claims.claim import SEEDS
    from kdbench.claims.reproduction import FILE
    from kdbench.claims.reproduction import reproduce as check
    from kdbench.running.options import RunOptions

    report = check(
        names,
        suite=suite,
        seeds=seeds or SEEDS,
        options=RunOptions.make(**options, progress=not as_json),
        on_finding=(lambda finding: None) if as_json else _print_finding,
    )
    print(report.model_dump_json() if as_json else options["out"] / FILE)


def _list(wanted: list[str], suite: str | None, as_json: bool) -> None:
    from kdbench.claims.reproduction import problem
    from kdbench.plugin.loader import load_plugins

    plugins = load_plugins()
    rows = []
    for name in wanted or plugins.claims:
        claim = plugins.claims.get(name)
        error = problem(claim, plugins, suite)
        state = str(error) if error else "ready"
        rows.append((name, claim.sentence, len(claim.comparisons), claim.paper, suite or claim.suite, state))
    if as_json:
        keys = ("name", "sentence", "comparisons", "paper", "suite", "state")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    lines = [list(map(str, row)) for row in rows]
    print(listing(lines, ("claim", "what is claimed", "comparisons", "paper", "suite", "state")))


def _print_finding(finding: Finding) -> None:
    """A claim's comparisons as a table, once it is checked."""
    from rich.markup import escape
    from rich.table import Table

    from kdbench.claims.claim import tally
    from kdbench.cli.tables import RULED, output
    from kdbench.results.wording import FLAG

    console = output()
    title = f"{finding.claim}: {finding.verdict}; {tally(finding.counts)}"
    console.print(title, style="bold", markup=False, highlight=False)
    console.print(f"{finding.sentence} ({finding.paper})", markup=False, highlight=False)
    if finding.reason:
        console.print(finding.reason, markup=False, highlight=False)
    table = Table("comparison", "difference", "95 % interval", "n", "seeds", "verdict", box=RULED, show_edge=False)
    for one in finding.outcomes:
        table.add_row(escape(one.text()), *map(escape, one.numbers()), str(one.n), str(len(one.seeds)), one.verdict)
    if finding.outcomes:
        console.print(table)
    for one in finding.outcomes:
        if one.outlook():
            console.print(f"{one.text()}: not shown. {one.outlook()}", markup=False, highlight=False)
    for line in dict.fromkeys(line for one in finding.outcomes for line in one.unequal):
        console.print(line, markup=False, highlight=False)
    for doubt in dict.fromkeys(doubt for one in finding.outcomes for doubt in one.first.doubts + one.second.doubts):
        console.print(f"{FLAG} {doubt}", markup=False, highlight=False)
    console.print()
