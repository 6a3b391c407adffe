"""Rewrite the tables of README.md and docs/benchmarks.md from leaderboards/records and docs/benchmarks.json, and
docs/methods.md from the registry and docs/methods.json.

python docs/update.py
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from methods_page import methods_page, table

from kdbench.console import FLAG
from kdbench.records import Record, Score, read_record

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "leaderboards/records"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

COLUMNS: dict[str, tuple[str, str, str, dict[str, str | int]]] = {
    "clean": ("clean", "clean", "accuracy", {}),
    "OOD": ("clean", "ood", "accuracy", {}),
    "PGD-20": ("clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20, "rule": "worst"}),
    "mCA": ("clean", "corruption", "mca", {}),
    "transfer": ("clean", "transfer", "accuracy", {"source": "teacher"}),
    "ECE": ("clean", "calibration", "ece", {}),
    "noisy 40 %": ("sym-40", "noisy_label", "accuracy", {}),
    "noisy ECE": ("sym-40", "calibration", "ece", {}),
}
"""Heading to condition, task, metric and setting."""


def load_records(suite: str) -> list[Record]:
    """The finished records of a suite, by method and seed."""
    records = [read_record(path) for path in (RECORDS / suite).glob("*/*.json")]
    return sorted(records, key=lambda record: (record.spec.method, record.spec.seed))


def find(record: Record, column: str) -> Score:
    """The one score behind a column of the table."""
    condition, task, metric, setting = COLUMNS[column]
    [score] = [score for score in record.select(task, metric, **setting) if score.condition == condition]
    return score


def cell(record: Record, score: Score) -> str:
    """Percent with the 95 % interval, and the sign of a flagged score."""
    flag = f" {FLAG}" if record.flags(score) else ""
    return f"{100 * score.value:.1f} ({100 * score.ci_low:.1f}-{100 * score.ci_high:.1f}){flag}"


def results() -> str:
    """The README's table: one row a record."""
    records = load_records("cifar10-lite")
    if not records:
        return "No records of suite `cifar10-lite` yet."
    counts = {column: find(records[0], column).n for column in COLUMNS}
    rows = [
        [f"`{record.spec.method}`", *(cell(record, find(record, column)) for column in COLUMNS)] for record in records
    ]
    machine = records[0].provenance
    seeds = ", ".join(map(str, sorted({record.spec.seed for record in records})))
    ood = find(records[0], "OOD").setting["dataset"]
    n = ", ".join(f"{column} {count:,}" for column, count in counts.items())
    words = f"""Suite `cifar10-lite`, seed {seeds}, percent with 95 % intervals over test images;
n: {n}. OOD is `{ood}`, corruptions are {records[0].spec.corruption_images}, PGD is `pgd-std`, transfer is from the
teacher; lower ECE is better; {FLAG} marks scores that a
reliability check in the record makes doubtful. One seed says nothing of the spread between seeds. Measured on
{machine.device_name}, {machine.threads} threads, torch {machine.torch}; the records are in `leaderboards/records/`."""
    return f"{table(['method', *COLUMNS], rows)}\n\n{textwrap.fill(' '.join(words.split()), 120)}"


def benchmarks() -> str:
    """docs/benchmarks.md: speed against others, growth, and how long each record took."""
    measured = json.loads((ROOT / "docs/benchmarks.json").read_text())
    return f"""# How fast it is

{against_others(measured["ratios"])}

{growth(measured["growth"])}

{durations()}

This file and the README's table are written by `python docs/update.py`; `tox -e bench` measures again.
"""


def against_others(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a comparison."""
    lines = []
    for row in rows.values():
        numbers = f"**{row['ratio']:.2f}x** ({row['lowest']:.2f}-{row['highest']:.2f})"
        seconds = f"{row['our_seconds']:.3g} / {row['peer_seconds']:.3g}"
        where = f"{row['device_name']}, {row['threads']} threads"
        facts = ", ".join(f"{name} {value}" for name, value in row["facts"].items())
        lines.append(
            [row["work"], row["peer"], f"{row['n']:,} {row['unit']}", numbers, row["reach"], seconds, where, facts]
        )
    headings = ["work", "compared with", "n", "times as fast", "wanted", "seconds, ours / theirs", "machine", "facts"]
    return f"""## Against what people use

Both sides are timed in turn by one process; the median over rounds (lowest-highest) of their time over ours. torch
{", ".join(sorted({row["torch"] for row in rows.values()}))}. Rows of a GPU are there where one was at hand.

{table(headings, lines)}"""


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


def durations() -> str:
    """How long each record took, part by part."""
    records = load_records("cifar10-lite")
    if not records:
        return ""
    own = [spent_alone(record) for record in records]
    shared = [{f"train {role}": network.seconds for role, network in r.hashes.networks.items()} for r in records]
    rows = [
        *seconds_rows(own),
        ["**together**", *(f"**{sum(part.values()):.1f}**" for part in own)],
        *seconds_rows(shared),
        ["peak memory", *(f"{record.provenance.peak_memory_bytes / 2**30:.2f} GiB" for record in records)],
    ]
    machine, precision = records[0].provenance, records[0].hashes.students["clean"].precision
    return f"""## A run, part by part

Seconds of wall time from the records of suite `cifar10-lite`, n = 1 run each, on {machine.device_name},
{machine.threads} threads, {machine.device}, torch {machine.torch}, training in {precision}. The networks below the sum
(teacher, reference student) are the suite's: they are trained once for all methods and seeds that need them.

{table(["part", *(f"`{record.spec.method}`" for record in records)], rows)}"""


def spent_alone(record: Record) -> dict[str, float]:
    """Seconds of what a run does for itself; a training counts with what it took when it was done."""
    spent = {"read data": record.provenance.seconds["data"]}
    spent |= {f"train {condition}/student": student.seconds for condition, student in record.hashes.students.items()}
    measured = {phase: s for phase, s in record.provenance.seconds.items() if phase.startswith("evaluate/")}
    return spent | {phase.replace("evaluate/", "measure "): seconds for phase, seconds in measured.items()}


def seconds_rows(columns: Sequence[dict[str, float]]) -> list[list[str]]:
    """One row a part, one column a record."""
    parts = dict.fromkeys(part for column in columns for part in column)
    return [[part, *(f"{column[part]:.1f}" if part in column else "-" for column in columns)] for part in parts]


def readme() -> str:
    """README.md with its table as the records have it."""
    text = (ROOT / "README.md").read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{results()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme())
    (ROOT / "docs/benchmarks.md").write_text(benchmarks())
    (ROOT / "docs/methods.md").write_text(methods_page())
