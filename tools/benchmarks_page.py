"""docs/benchmarks.md: what tools/data/benchmarks.json and the records say of speed."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kdbench.results.record import Record, read_record
from tools.markdown import table
from tools.readme import RECORDS, SUITE

MEASURED = Path(__file__).parent / "data/benchmarks.json"
UNDISTURBED = 0.9
"""Share of a run's time that its threads worked, from which on it had the machine to itself."""


def benchmarks_page() -> str:
    """docs/benchmarks.md: speed against others, growth, and how long each record took."""
    measured = json.loads(MEASURED.read_text())
    return f"""# How fast it is

{against_others(measured["ratios"])}

{growth(measured["growth"])}

{studies(measured.get("studies", {}))}

{page(measured.get("page", {}))}

{durations(load_records())}

This file and the README's table are written by `python -m tools.update`; `tox -e bench` measures again.
"""


def against_others(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per comparison."""
    lines = []
    for row in rows.values():
        numbers = f"**{row['ratio']:.2f}x** ({row['lowest']:.2f}-{row['highest']:.2f})"
        seconds = f"{row['our_seconds']:.3g} / {row['peer_seconds']:.3g}"
        where = f"{row['device_name']}, {row['threads']} threads"
        facts = ", ".join(f"{name} {value}" for name, value in row["facts"].items())
        count = f"{row['n']:,} {row['unit']}"
        lines.append([row["work"], row["peer"], count, numbers, _wanted(row), seconds, where, facts])
    headings = ["work", "compared with", "n", "times as fast", "wanted", "seconds, ours / theirs", "machine", "facts"]
    return f"""## Against what people use

Both sides are timed in turn by one process; the median over rounds (lowest-highest) of their time over ours. torch
{", ".join(sorted({row["torch"] for row in rows.values()}))}. Rows of a GPU are there where one was available.

{table(headings, lines)}"""


def _wanted(row: Mapping[str, Any]) -> str:
    """The ratio that the row should reach, and whether it fell short of it."""
    least = re.search(r"at least ([\d.]+)x", row["reach"])
    short = least is not None and row["ratio"] < float(least[1])
    return f"{row['reach']}: **not reached**" if short else row["reach"]


def growth(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Seconds and memory of each task at each size."""
    sizes = sorted({int(n) for row in rows.values() for n in row["sizes"]})
    lines = [[name, *(at_size(row["sizes"].get(str(n))) for n in sizes)] for name, row in rows.items()]
    any_row = next(iter(rows.values()))
    return f"""## Growth

Wall time of a task for n test images and the memory that the process had at its peak beyond what it had before, images
(3 KiB each) not counted; WRN-10-1, {any_row["device_name"]}, {any_row["threads"]} threads, one measurement each.

{table(["task", *(f"n = {n:,}" for n in sizes)], lines)}"""


def at_size(found: Mapping[str, float] | None) -> str:
    """One cell of the growth table."""
    return f"{found['seconds']:.2f} s, {found['mebibytes']:.0f} MiB" if found else "-"


def studies(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What a study costs beside its trainings."""
    if not rows:
        return "## Studies\n\nNot measured yet."
    heads = {
        "write_seconds": "plan written, s", "read_seconds": "read, s", "schedule_seconds": "all decisions, s",
        "mebibytes": "peak memory, MiB", "plan_mebibytes": "plan on disk, MiB",
        "makespan_over_least": "time over the least possible",
    }  # fmt: skip
    lines = [[name, *(f"{row[key]:,}" for key in heads)] for name, row in rows.items()]
    any_row = next(iter(rows.values()))
    return f"""## Studies

The scheduler alone, with simulated workers and nodes of 60 to 600 made-up seconds: everything that `kdbench sweep` does
beside the trainings; {any_row["device_name"]}, one measurement.

{table(["size", *heads.values()], lines)}"""


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """How long a reader of the leaderboard's page waits."""
    if not rows:
        return "## The leaderboard's page\n\nNot measured yet."
    any_row = next(iter(rows.values()))
    heads = ["what is done", "to the paint, ms, median (lowest-highest)", "of the page's thread, ms, mean", "times",
             "machine", "load of its cores"]  # fmt: skip
    lines = [
        [
            name,
            f"**{row['median']}** ({row['lowest']}-{row['highest']})",
            str(row["cpu"]),
            str(row["n"]),
            f"{row['device_name']}, {row['cores']} cores, {row['browser']}",
            f"{row['load']} of {row['cores']}",
        ]
        for name, row in rows.items()
    ]
    return f"""## The leaderboard's page

A page of {any_row["methods"]:,} methods, from the act to the paint after it. Wanted: under 200 ms for a sort. The load
is the average of the minute before: where it is above the number of cores, other work made the browser wait, and the
times are no measure of the page; the time that its thread worked still is.

{table(heads, lines)}"""


def durations(records: Sequence[Record]) -> str:
    """How long a run of each method took, part by part: the mean over records made on a machine to themselves."""
    if not records:
        return f"## A run, part by part\n\nNo records of `{SUITE}` yet."
    if not any(map(undisturbed, records)):
        return f"## A run, part by part\n\nEvery run of `{SUITE}` shared its machine: its times mean nothing."
    by_method: dict[str, list[Record]] = {}
    for record in filter(undisturbed, records):
        by_method.setdefault(record.spec.method, []).append(record)
    own = [mean_of([spent_alone(record) for record in same]) for same in by_method.values()]
    rows = [
        *seconds_rows(own),
        ["**together**", *(f"**{sum(part.values()):.1f}**" for part in own)],
        ["runs", *(str(len(same)) for same in by_method.values())],
    ]
    return f"""## A run, part by part

Seconds of wall time from the records of suite `{SUITE}`, the mean over the runs of a method, on
{machine(records[0])}.
Networks that are trained once for several runs are not counted: the suite's, and teachers of a method's own. Left out
are runs beside other work on the same processor, and those that found their students trained.

{table(["part", *(f"`{method}`" for method in by_method)], rows)}"""


def undisturbed(record: Record) -> bool:
    """Whether the run trained its students itself, on a processor that did nothing else: its times are its cost."""
    facts = record.provenance
    wall = (datetime.fromisoformat(facts.finished) - datetime.fromisoformat(facts.started)).total_seconds()
    return facts.cpu_seconds >= UNDISTURBED * wall * facts.threads and sum(spent_alone(record).values()) <= wall


def machine(record: Record) -> str:
    """What a record was made on, in words."""
    facts, precision = record.provenance, record.hashes.students["clean"].precision
    return (
        f"{facts.device_name}, threads: {facts.threads}, {facts.device}, torch {facts.torch}, training in {precision}"
    )


def mean_of(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Part to its mean over the runs that have it."""
    parts = dict.fromkeys(part for run in runs for part in run)
    return {part: statistics.fmean(run[part] for run in runs if part in run) for part in parts}


def spent_alone(record: Record) -> dict[str, float]:
    """Seconds of what a run does for itself; a training counts with what it took when it was done."""
    spent = {"read data": record.provenance.seconds["data"]}
    spent |= {f"train {condition}/student": student.seconds for condition, student in record.hashes.students.items()}
    measured = {phase: s for phase, s in record.provenance.seconds.items() if phase.startswith("evaluate/")}
    return spent | {phase.replace("evaluate/", "measure "): seconds for phase, seconds in measured.items()}


def seconds_rows(columns: Sequence[dict[str, float]]) -> list[list[str]]:
    """One row per part, one column per record."""
    parts = dict.fromkeys(part for column in columns for part in column)
    return [[part, *(f"{column[part]:.1f}" if part in column else "-" for column in columns)] for part in parts]


def load_records() -> list[Record]:
    """The finished records behind the tables, by method and seed."""
    records = [read_record(path) for path in (RECORDS / SUITE).glob("*/*.json")]
    done = [record for record in records if record.status == "finished"]
    return sorted(done, key=lambda record: (record.spec.method, record.spec.seed))
