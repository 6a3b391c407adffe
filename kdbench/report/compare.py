"""Methods side by side: paired differences on every axis of a leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kdbench.leaderboard import Board, Evidence, Excluded, make_boards, read_evidence
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.scores import DOWN
from kdbench.report.style import COLOURS, MARKERS, MOST_RUNS, in_percent, legend_outside, make_figure, percent, plain


def differences(runs: Sequence[Run]) -> Iterator[Part]:
    """How much better each method is than the first, over its seeds and on the same test images; nothing for a single
    run."""
    if len(runs) < 2:
        return
    title = "Differences"
    read = [read_evidence(run.path) for run in runs]
    found = [one for one in read if isinstance(one, Evidence)]
    reasons = [f"{one.path.name}: {one.reason}" for one in read if isinstance(one, Excluded)]
    made = make_boards(found)
    board = made.boards[0] if made.boards else None
    excluded = [*made.excluded, *(one for each in made.boards for one in each.excluded)]
    reasons += [f"{plain(one.method)} {one.run_id}: {one.reason}" for one in excluded]
    ranked = [run for each in made.boards for row in each.rows for one in row.records for run in one.sources]
    reasons += [f"{plain(run.record.spec.method)} {run.record.run_id}: {why}" for run in ranked for why in _lost(run)]
    if board is None or len(board.rows) < 2:
        yield missing(title, reasons or ["the runs are of one method: with several seeds they are one row"])
        return
    yield _plot(title, board, plain(runs[0].record.spec.method), runs[0].record.run_id)
    if reasons:
        yield missing("What is not compared", reasons)


def _lost(run: Evidence) -> Iterator[str]:
    """The columns that a run is left out of, and why."""
    return (f"{plain(task)}: {why}" for task, why in run.left_out.items())


def _plot(title: str, board: Board, first: str, run_id: str) -> Part:
    """Differences from the row of the first run that was given."""
    rows = list(board.rows)
    base = next((i for i, row in enumerate(rows) if any(one.record.run_id == run_id for one in row.records)), 0)
    others = [i for i in range(len(rows)) if i != base][: MOST_RUNS - 1]
    axes_shown = [
        axis
        for axis in board.axes
        if axis.unit == "fraction" and np.isfinite(board.pairs[axis.key].value[others, base]).any()
    ]
    if not axes_shown:
        return missing(title, ["no two of the runs have a score in common"])
    figure = make_figure(len(axes_shown) * (0.2 + 0.09 * len(others)) + 0.8)
    axes = figure.subplots()
    axes.axvline(0, color="black", lw=0.9)
    places = np.arange(len(axes_shown))[::-1] * 1.0
    table: list[tuple[Value, ...]] = []
    widest = 0.0
    for number, other in enumerate(others, start=1):
        offset = 0.6 * ((len(others) + 1) / 2 - number) / max(len(others), 2)
        for place, axis in zip(places, axes_shown, strict=True):
            pairs = board.pairs[axis.key]
            value, half = axis.sign * float(pairs.value[other, base]), float(pairs.half_width[other, base])
            if np.isnan(value):
                continue
            known = bool(pairs.significant[other, base])
            bars = axes.errorbar(value, place + offset, xerr=half, fmt=MARKERS[number], color=COLOURS[number],
                                 mfc=COLOURS[number] if known else "white")  # fmt: skip
            if rows[other].cells[axis.key].one_seed or rows[base].cells[axis.key].one_seed:
                bars[2][0].set_linestyle("--")
            widest = max(widest, half)
            seeds = f"{len(rows[other].runs)} and {len(rows[base].runs)}"
            names = (axis.title, rows[other].title, rows[base].title)
            numbers = (value, value - half, value + half, float(pairs.p_value[other, base]))
            facts = (known, bool(pairs.paired[other, base]), rows[other].cells[axis.key].n, seeds)
            table.append((*names, *numbers, *facts))
        axes.plot([], [], MARKERS[number], color=COLOURS[number], label=plain(rows[other].title))
    measured = [rows[base].cells.get(axis.key) for axis in axes_shown]
    titles = [
        f"{plain(axis.title, 36)}{'' if axis.higher_is_better else f' {DOWN}'}{f', n = {cell.n:,}' if cell else ''}"
        for axis, cell in zip(axes_shown, measured, strict=True)
    ]
    axes.set_yticks(places, titles)
    axes.set_ylim(-0.6, len(axes_shown) - 0.4)
    base_title = plain(rows[base].title)
    in_percent(axes, f"better than {base_title} by points, with 95 % intervals", along="x", full=False)
    legend_outside(figure, axes, "upper")
    return Plot(
        "differences",
        title,
        figure,
        f"How much better each method is than {base_title}, in percentage points: its score minus the other's, or the "
        f"other's minus its own where lower is better ({DOWN}), with 95 % intervals (at most "
        f"\N{PLUS-MINUS SIGN}{percent(widest)} points) over the test images that both were measured on, example by "
        f"example, and over seeds where there are several. Dashed: one of the two has one seed, so that another one "
        f"may reverse the difference and nothing is tested. Filled: significant at 5 % after Holm's correction over "
        f"the pairs of the axis.",
        Table(("axis", "method", "than", "better_by", "ci_low", "ci_high", "p_value", "significant", "paired", "n",
               "seeds"), tuple(table)),
    )  # fmt: skip
