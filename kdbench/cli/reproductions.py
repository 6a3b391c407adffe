"""What ``kdbench reproduce`` does with tables and figures: list them, show what one would run, run it, print it."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kdbench.cli.options import PUBLISHED

if TYPE_CHECKING:
    from kdbench.reproducing.needing import Needed
    from kdbench.reproducing.outcome import Outcome
    from kdbench.reproducing.reproduction import Reproduction
    from kdbench.reproducing.running import Planned, Ready

DEFAULT = "smoke"
WIDTH = 118
MOST_REASONS = 3


def of_papers(words: Sequence[str], ids: Iterable[str]) -> list[str]:
    """With the tables and figures of a paper in the place of its name, each once: those of "arani" are "arani/fig1" and
    so on."""
    ordered = sorted(ids, key=_numbered)
    papers = {word: [name for name in ordered if name.startswith(f"{word}/")] for word in words}
    return list(dict.fromkeys(name for word in words for name in papers[word] or [word]))


def show(names: Sequence[str], out: Path, folders: Sequence[Path], as_json: bool) -> None:
    """What each scale takes: of all in a table, of those of these names one by one, with what is known to be wrong."""
    from kdbench.plugin.loader import load_plugins
    from kdbench.reproducing.needing import Times, needed
    from kdbench.reproducing.reading import read_reproduction

    registry = load_plugins().reproductions
    items = [read_reproduction(registry.get(name)) for name in names or sorted(registry, key=_numbered)]
    times = Times([place for place in folders or (out, PUBLISHED) if place.is_dir()])
    found = [(item, needed(item, times)) for item in items]
    if as_json:
        rows = [
            {"id": item.id, "paper": item.paper, "title": item.title, "known": list(item.known),
             "scales": {one.scale: one.to_dict() for one in scales}}
            for item, scales in found
        ]  # fmt: skip
        print(json.dumps(rows))
    elif names:
        for item, scales in found:
            _details(item, scales)
    else:
        _overview(found)


def _numbered(name: str) -> list[tuple[int, str]]:
    """To sort by: "fig10" comes after "fig9"."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]


def _details(item: Reproduction, scales: Sequence[Needed]) -> None:
    print(f"{item.id}  {item.title}")
    for one in scales:
        print(f"    {_need(one)}")
    for sentence in item.known:
        print(textwrap.fill(sentence, WIDTH, initial_indent="    - ", subsequent_indent="      "))


def _overview(found: Sequence[tuple[Reproduction, Sequence[Needed]]]) -> None:
    from kdbench.cli.listing import listing
    from kdbench.progress import in_words
    from kdbench.reproducing.reproduction import SCALES

    def cell(one: Needed) -> str:
        return f"{one.runs}" if one.cpu_seconds is None else f"{one.runs}, {in_words(one.cpu_seconds)}"

    rows = []
    for item, scales in found:
        cells = {one.scale: cell(one) for one in scales}
        rows.append((item.id, item.title, *(cells.get(scale, "-") for scale in SCALES), str(len(item.known))))
    print(listing(rows, ("id", "what it shows", *SCALES, "remarks"), right=2))
    print("\nNumbers are runs, and the time of a CPU core as far as records say.")
    print("What is known to be wrong or ambiguous, and more: kdbench reproduce list ID, or the name of a paper")


def _need(one: Needed) -> str:
    from kdbench.progress import in_words
    from kdbench.results.wording import counted

    times = {"of a CPU core": one.cpu_seconds, "of a GPU": one.gpu_seconds}
    said = [
        f"about {in_words(seconds)} {where}" if seconds is not None else f"no record says how long {where}"
        for where, seconds in times.items()
    ]
    if set(times.values()) == {None}:
        said = ["no record says how long"]
    return f"{one.scale:6} {', '.join(one.suites)}: {counted(one.runs, 'run')}; {'; '.join(said)}"


def reproduce(
    name: str,
    scale: str | None,
    seeds: str | None,
    folders: Sequence[Path],
    to: Path,
    *,
    as_json: bool,
    dry_run: bool,
    retry_failed: bool,
    engine: Mapping[str, Any],
    workers: int | None,
    options: Mapping[str, Any],
) -> None:
    """One of them: everything is checked, what is missing is run, the verdicts are written and printed."""
    from kdbench.files import check_writable
    from kdbench.reproducing.running import Planned, Ready, from_folders
    from kdbench.reproducing.writing import write_all
    from kdbench.running import provenance
    from kdbench.running.options import RunOptions
    from kdbench.seeds import parse_seeds

    started = provenance.utc_now()
    ready = Ready.make(name, scale or DEFAULT, parse_seeds(seeds) if seeds else None)
    place = RunOptions.make(**options, progress=not (as_json or dry_run))
    if not as_json:
        print(_first_line(ready, chosen=scale is not None))
    failed = False
    if folders:
        evidence = from_folders(ready, folders)
    else:
        settings = {engine.get("executor", "local"): {"workers": workers}} if workers else {}
        planned = Planned(ready, place, **engine, engine=settings)
        if dry_run:
            _would_run(planned, as_json)
            return
        check_writable(to)
        failed = _run(planned, retry_failed)
        evidence = planned.evidence()
    outcome, points = ready.judge(evidence, started, place.device)
    written = write_all(outcome, ready.reproduction.figure, points, to)
    if as_json:
        print(outcome.model_dump_json())
    else:
        _print(outcome)
        print("\n".join(map(str, written)))
    if failed:
        raise typer.Exit(1)


def _first_line(ready: Ready, *, chosen: bool) -> str:
    suites = ", ".join(dict.fromkeys(job.suite.label for job in ready.jobs if job.wish.seed is None)) or "none"
    how = f"scale {ready.scale}" if chosen else f"scale {ready.scale}, as no --scale was given"
    return textwrap.shorten(f"{ready.reproduction.id}: {how}; suite {suites}", 300, placeholder=" ...")


def _would_run(planned: Planned, as_json: bool) -> None:
    from kdbench.results.wording import counted

    titles = [node.title for _, plan in planned.studies for node in plan.nodes if node.kind == "run"]
    if as_json:
        print(json.dumps({"there": len(planned.found), "left": titles}))
        return
    for title in titles:
        print(title)
    print(f"{counted(len(planned.found), 'run')} there already, {len(titles)} left")


def _run(planned: Planned, retry_failed: bool) -> bool:
    """Work everything off; whether something failed."""
    from kdbench.studies.show import watched

    standings = planned.run(
        lambda folder, plan, executor: watched(folder, plan, executor, wait=True, retry_failed=retry_failed)[0]
    )
    for standing in standings:
        for node in standing.plan.nodes:
            if node.key in standing.errors:
                print(f"failed: {node.title}: {standing.errors[node.key]}", file=sys.stderr)
    return any(standing.errors or standing.blocked() for standing in standings)


def _print(outcome: Outcome) -> None:
    from kdbench.cli.tables import numbers, output
    from kdbench.reproducing.writing import PAIR_HEADS, number_heads, number_rows, pair_rows

    console = output()
    if rows := number_rows(outcome, measured=True):
        console.print(numbers(outcome.title, number_heads(outcome), rows))
    if outcome.pairs:
        console.print(numbers("pairs", PAIR_HEADS, pair_rows(outcome)))
    for line in [*outcome.summary(), *_gaps(outcome.unmeasured())]:
        console.print(line, markup=False, highlight=False)


def _gaps(unmeasured: Counter[str]) -> list[str]:
    """How many numbers were not measured for which reason, the commonest ones by name."""
    named = unmeasured.most_common(MOST_REASONS)
    others = unmeasured.total() - sum(count for _, count in named)
    rest = [f"{others} not measured for other reasons: the table says which"] if others else []
    return [*(f"{count} not measured: {why}" for why, count in named), *rest]
