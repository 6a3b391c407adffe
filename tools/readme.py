"""README.md with its table of results as leaderboards/records have it."""

from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard import Boards, Cell, rank
from kdbench.leaderboard.marks import NEAR
from kdbench.results.wording import FLAG
from tools.markdown import prose, table

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "leaderboards/records"
SUITE = "cifar10-lite"
"""The suite that README.md and docs/benchmarks.md show."""
BEGIN, END = "<!-- results -->", "<!-- /results -->"


def readme() -> str:
    """README.md with its table as the records have it."""
    text = (ROOT / "README.md").read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{results(rank(RECORDS))}\n{END}{rest.split(END)[1]}"


def cell(found: Cell | None) -> str:
    """Percent with the 95 % interval, bold for the best and what is surely near it, and the sign of a flagged score."""
    if found is None:
        return "-"
    value = f"{100 * found.value:.1f}"
    interval = f"({100 * found.ci_low:.1f}-{100 * found.ci_high:.1f})"
    stressed = f"**{value}**" if found.mark in ("best", "near") else value
    return " ".join(filter(None, (stressed, interval, FLAG if found.flags else "")))


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
    machines = sorted({one.record.provenance.device_name for row in board.rows for one in row.records})
    n = {axis.title: max(row.cells[axis.key].n for row in board.rows if axis.key in row.cells) for axis in board.axes}
    counts = ", ".join(f"{title} {count:,}" for title, count in n.items())
    lower = ", ".join(axis.title for axis in board.axes if not axis.higher_is_better)
    outside = [axis.title for axis in board.axes if not axis.counts]
    aside = f" No part of it: {', '.join(outside)}." if outside else ""
    words = f"""Suite `{board.suite}`: percent, mean over seeds, with 95 % intervals over seeds and test images (over
test images alone with one seed); n: {counts}. {lower}: lower is better. Bold: the best mean of a column, and what the
paired difference's 95 % interval leaves at most {100 * NEAR:g} point behind it; {FLAG} marks scores that a reliability
check makes doubtful. The rank is the mean of midranks within each family of columns, then over families: the tests
leave a range of ranks open, and its middle counts.{aside} {" ".join(board.notes)}
Measured on {", ".join(machines)}; the records are in
`leaderboards/records/`."""
    headings = ["method", "rank", "seeds", *(axis.title for axis in board.axes)]
    return f"{table(headings, rows)}\n\n{prose(words)}"
