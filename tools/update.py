"""Rewrite leaderboards/schema.json from the record model, leaderboards/index.json and the tables of README.md and
docs/benchmarks.md from leaderboards/records and tools/data/benchmarks.json, docs/methods.md from the registry and
tools/data/methods.json, and docs/claims.md from tools/data/claims.json.

python -m tools.update
"""

from __future__ import annotations

import json
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kdbench.leaderboard import Boards, Cell, rank, write_index, write_schema
from kdbench.results.record import Record, read_record
from kdbench.results.wording import FLAG
from tools.claims_page import claims_page
from tools.methods_page import methods_page, table

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "leaderboards/records"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

UNDISTURBED = 0.9
"""Share of a run's time that its threads worked, from which on it had the machine to itself."""
SUITE = "cifar10-lite"


def load_records() -> list[Record]:
    """The finished records behind the tables, by method and seed."""
    records = [read_record(path) for path in (RECORDS / SUITE).glob("*/*.json")]
    done = [record for record in records if record.status == "finished"]
    return sorted(done, key=lambda record: (record.spec.method, record.spec.seed))


def cell(found: Cell | None) -> str:
    """Percent with the 95 % interval, bold where nobody is better, and the sign of a flagged score."""
    if found is None:
        return "-"
    value = f"{100 * found.value:.1f}"
    interval = f"({100 * found.ci_low:.1f}-{100 * found.ci_high:.1f})"
    return " ".join(filter(None, (f"**{value}**" if found.best else value, interval, FLAG if found.flags else "")))


def results(boards: Boards) -> str:
    """The README's table: the suite's leaderboard."""
    board = next((board for board in boards.boards if board.suite == SUITE), None)
    if board is None:
        return "No records of `cifar10-lite` yet."
    rows = [
        [
            f"`{row.title}`",
            "-" if row.mean_rank is None else f"{row.mean_rank:.1f}",
            str(len(row.runs)),
            *(cell(row.cells.get(axis.key)) for axis in board.axes),
        ]
        for row in board.rows
    ]
    machines = sorted({one.record.provenance.device_name for row in board.rows for one in row.runs})
    n = {axis.title: max(row.cells[axis.key].n for row in board.rows if axis.key in row.cells) for axis in board.axes}
    counts = ", ".join(f"{title} {count:,}" for title, count in n.items())
    lower = ", ".join(axis.title for axis in board.axes if not axis.higher_is_better)
    words = f"""Suite `{board.suite}`: percent, mean over seeds, with 95 % intervals over seeds and test images (over
test images alone with one seed); n: {counts}. {lower}: lower is better. Bold: no method is significantly better
(paired, 5 % over all pairs of a column); {FLAG} marks scores that a reliability check makes doubtful. The rank is the
mean over columns of the middle of the ranks that these tests leave open. {" ".join(board.notes)}
Measured on {", ".join(machines)}; the records are in
`leaderboards/records/`."""
    headings = ["method", "rank", "seeds", *(axis.title for axis in board.axes)]
    return f"{table(headings, rows)}\n\n{textwrap.fill(' '.join(words.split()), 120)}"


def benchmarks() -> str:
    """docs/benchmarks.md: speed against others, growth, and how long each record took."""
    measured = json.loads((ROOT / "tools/data/benchmarks.json").read_text())
    return f"""# How fast it is

{against_others(measured["ratios"])}

{growth(measured["growth"])}

{durations()}

This file and the README's table are written by `python -m tools.update`; `tox -e bench` measures again.
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
    """How long a run of each method took, part by part: the mean over records made on a machine to themselves."""
    records = load_records()
    if not records:
        return f"## A run, part by part\n\nNo records of `{SUITE}` yet."
    if not any(map(undisturbed, records)):
        return f"## A run, part by part\n\nEvery run of `{SUITE}` shared its machine: its times tell nothing."
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
    """One row a part, one column a record."""
    parts = dict.fromkeys(part for column in columns for part in column)
    return [[part, *(f"{column[part]:.1f}" if part in column else "-" for column in columns)] for part in parts]


def readme() -> str:
    """README.md with its table as the records have it."""
    text = (ROOT / "README.md").read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{results(rank(RECORDS))}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    write_schema(RECORDS.parent / "schema.json")
    write_index(RECORDS, RECORDS.parent / "index.json")
    (ROOT / "README.md").write_text(readme())
    (ROOT / "docs/benchmarks.md").write_text(benchmarks())
    (ROOT / "docs/methods.md").write_text(methods_page())
    (ROOT / "docs/claims.md").write_text(claims_page())
