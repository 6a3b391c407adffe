"""``kdbench reproduce``: what papers claim, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.app import app
from kdbench.cli.listing import listing
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import Compile, DataDir, Device, Download, Json, Out
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.claims.findings import Finding


@app.command(cls=OnceCommand)
def reproduce(
    name: Annotated[list[str] | None, typer.Argument(help="Claims by name; default: all.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Check what the papers of the methods claim.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the claims, and train nothing.")] = False,
    suite: Annotated[str | None, typer.Option(help="Suite to check them on; default: each claim's own.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(metavar="N", min=0, help="Seed, repeatable; default: 0, 1 and 2.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    download: Download = True,
    compile: Compile = True,
    as_json: Json = False,
) -> None:
    """Check what papers claim: train, and compare with intervals.

    Adds to OUT/claims.json. Each comparison of a claim holds, fails (its opposite is significant), or is not shown
    (the interval leaves it open; then the output says how many seeds would decide it); the claim is counted out so.
    """
    if not claims:
        raise KdbenchError("nothing says what to reproduce", "write kdbench reproduce --claims")
    from kdbench.plugin.catalogue import catalogue

    installed = catalogue()
    installed.require("claim", name or [])
    installed.require("suite", [suite] if suite and not suite.endswith(".toml") else [])
    if list_:
        _list(name or [], suite, as_json)
        return
    from kdbench.claims.claim import SEEDS
    from kdbench.claims.reproduction import FILE
    from kdbench.claims.reproduction import reproduce as check
    from kdbench.running.options import RunOptions

    report = check(
        name or (),
        suite=suite,
        seeds=seed or SEEDS,
        options=RunOptions.make(
            data_dir=data_dir, device=device, out=out, download=download, progress=not as_json, compile=compile
        ),
        on_finding=(lambda finding: None) if as_json else _print_finding,
    )
    print(report.model_dump_json() if as_json else out / FILE)


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
    from kdbench.cli.tables import output
    from kdbench.results.wording import FLAG

    console = output()
    title = f"{finding.claim}: {finding.verdict}; {tally(finding.counts)}"
    console.print(title, style="bold", markup=False, highlight=False)
    console.print(f"{finding.sentence} ({finding.paper})", markup=False, highlight=False)
    if finding.reason:
        console.print(finding.reason, markup=False, highlight=False)
    table = Table("comparison", "difference", "95 % interval", "n", "seeds", "verdict", show_edge=False)
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
