"""Which classes a student takes for which."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes

from kdbench.errors import KdbenchError
from kdbench.leaderboard.installed import installed_classes
from kdbench.report.collect import collect
from kdbench.report.parts import Part, Plot, Table, missing
from kdbench.report.runs import Run
from kdbench.report.style import grid_of, make_figure, plain
from kdbench.results.confusion import Confusion, confusion_of

MOST_NUMBERS = 20
"""Classes whose cells have their number in them, and whose names stand beside the rows."""


def confusions(runs: Sequence[Run]) -> Iterator[Part]:
    """True classes by answers, one panel per run and condition."""
    title = "Which classes are taken for which"
    predictions = functools.cache(Run.predictions)

    def confusion_in(run: Run, condition: str) -> Confusion:
        found = confusion_of(predictions(run), condition)
        if found is None:
            raise KdbenchError(f"{run.label} kept no answers under {condition}, as older records did not")
        return found

    found, reasons = collect(runs, confusion_in)
    dataset = runs[0].record.spec.suite.dataset
    panels = [
        (run, condition, one, installed_classes(dataset, len(one.counts)))
        for condition, by_run in found.items()
        for run, one in by_run.items()
    ]
    if not panels:
        yield missing(title, reasons)
        return
    down, across = grid_of(len(panels), most=2)
    figure = make_figure(3.4 * down + 0.3, 4.6 if across == 1 else 7.6)
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, (run, condition, one, names) in zip(grid, panels, strict=False):
        _draw(axes, one, names)
        axes.set_title(plain(f"{run.label}, {condition}", 40), fontsize=9)
    for axes in grid[len(panels) :]:
        axes.remove()
    rows = tuple(
        (run.label, condition, names[true], names[answer], int(one.counts[true, answer]))
        for run, condition, one, names in panels
        for true, answer in zip(*np.nonzero(one.counts), strict=True)
    )
    yield Plot(
        "confusion",
        title,
        figure,
        f"True classes in rows, answers in columns, in percent of the test images of a class; "
        f"n = {min(one.n for _, _, one, _ in panels):,} images.",
        Table(("run", "condition", "class", "answer", "images"), rows),
    )
    if reasons:
        yield missing(f"{title}, some students", reasons)


def _draw(axes: Axes, found: Confusion, names: Sequence[str]) -> None:
    shares = found.shares()
    axes.imshow(np.ma.masked_invalid(shares), vmin=0.0, vmax=1.0, aspect="auto")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.set_xlabel("answer")
    if len(names) > MOST_NUMBERS:
        axes.set_ylabel("class")
        return
    for (true, answer), share in np.ndenumerate(shares):
        if share >= 0.005:
            axes.text(answer, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=7,
                      color="white" if share < 0.55 else "black")  # fmt: skip
    short = [plain(name, 12) for name in names]
    axes.set_xticks(range(len(names)), short, rotation=60, fontsize=7)
    axes.set_yticks(range(len(names)), short, fontsize=7)
