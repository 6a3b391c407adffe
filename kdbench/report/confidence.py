"""How sure a student is: reliability diagrams, and how large its softmax outputs are."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.report.bench import Bench
from kdbench.report.collect import collect
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import COLOURS, FAINT, LINES, MARKERS, draw_intervals, in_percent, make_figure, percent, plain
from kdbench.results.figures import MAGNITUDES, Reliability, histograms, magnitudes, reliability_of

BINS = 15


def reliability(runs: Sequence[Run]) -> Iterator[Part]:
    """Accuracy against confidence, one panel per condition, with the share of images in each bin below."""
    title = "Reliability"
    predictions = functools.cache(Run.predictions)

    def diagram_of(run: Run, condition: str) -> Reliability:
        diagram = reliability_of(predictions(run), condition, bins=BINS)
        if diagram is None:
            raise KdbenchError(f"{run.label} has no confidences under {condition}")
        return diagram

    found, reasons = collect(runs, diagram_of)
    if not found:
        yield missing(title, reasons)
        return
    figure = make_figure(4.2 + 0.1 * len(runs), 3.6 * max(2, len(found)) if len(found) > 1 else 4.2)
    panels = figure.subplots(2, len(found), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
    rows: list[tuple[Value, ...]] = []
    for (upper, lower), (condition, diagrams) in zip(panels.T, found.items(), strict=True):
        upper.set_title(f"trained under {plain(condition)}")
        upper.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":", label="perfect")
        for run, diagram in diagrams.items():
            number = runs.index(run)
            upper.plot(diagram.confidence, diagram.accuracy, MARKERS[number], ls="-", lw=1, color=COLOURS[number], ms=4,
                       label=f"{plain(run.label, 22)}: ECE {percent(diagram.ece)} %")  # fmt: skip
            draw_intervals(upper, diagram.confidence, diagram.ci_low, diagram.ci_high, color=COLOURS[number], lw=1)
            lower.stairs(diagram.count / diagram.n, np.append(diagram.lower, diagram.upper[-1]), color=COLOURS[number],
                         ls=LINES[number], lw=1.3)  # fmt: skip
            rows += _reliability_rows(run, condition, diagram)
        upper.legend(loc="best", fontsize=8)
        in_percent(lower, "confidence (%)", along="x")
    in_percent(panels[0, 0], "accuracy (%)")
    in_percent(panels[1, 0], "images (%)", full=False)
    n = min(diagram.n for diagrams in found.values() for diagram in diagrams.values())
    yield Plot(
        "reliability",
        title,
        figure,
        f"Share of images that are right against the mean confidence (largest softmax output, temperature 1), {BINS} "
        f"bins of equal width, with 95 % intervals (Wilson) for the images of a bin, and the share of images in each "
        f"bin. ECE: mean gap over all images. n = {n:,} test images. Below the diagonal a student is too sure.",
        Table(("run", "condition", "from", "to", "n", "confidence", "accuracy", "ci_low", "ci_high"), tuple(rows)),
    )
    if reasons:
        yield missing(f"{title} of some students", reasons)


def _reliability_rows(run: Run, condition: str, diagram: Reliability) -> Iterator[tuple[Value, ...]]:
    for i, n in enumerate(diagram.count.tolist()):
        numbers = (diagram.confidence, diagram.accuracy, diagram.ci_low, diagram.ci_high)
        edges = (float(diagram.lower[i]), float(diagram.upper[i]))
        yield (run.label, condition, *edges, n, *(float(column[i]) for column in numbers))


def softmax_histogram(runs: Sequence[Run], bench: Bench) -> Iterator[Part]:
    """Sizes of softmax outputs on the test set (Arani et al. 2021, Fig. 8), one column per condition.

    With the suite's networks where a record has them, by task ``softmax_magnitude``.
    """
    title = "Magnitude of softmax outputs"
    found, reasons = collect(runs, bench.probabilities)
    if not found:
        yield missing(title, reasons)
        return
    figure = make_figure(4.4, 7.0 if len(found) > 1 else 4.2)
    panels = figure.subplots(2, len(found), squeeze=False, sharex=True, sharey="row")
    edges = np.linspace(0, 1, MAGNITUDES + 1)
    rows: list[tuple[Value, ...]] = []
    sizes = set()
    for column, (condition, by_run) in enumerate(found.items()):
        for run, probabilities in by_run.items():
            sizes.add(probabilities.shape)
            number = runs.index(run)
            for axes, shares, what in zip(
                panels[:, column], magnitudes(probabilities), ("all", "largest"), strict=True
            ):
                axes.stairs(shares, edges, color=COLOURS[number], ls=LINES[number], lw=1.4, label=plain(run.label, 22))
                bins = zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)
                rows += [(run.label, condition, what, *bin_) for bin_ in bins]
        rows += _draw_networks(panels[:, column], runs, condition)
        panels[0, column].set_title(f"trained under {plain(condition)}")
        in_percent(panels[1, column], "softmax output (%)", along="x")
    n, classes = max(sizes)
    for axes, what in zip(
        panels[:, 0], (f"all C\N{MULTIPLICATION SIGN}N = {n * classes:,}", f"largest, N = {n:,}"), strict=True
    ):
        axes.set_yscale("log")
        in_percent(axes, f"{what} (%)", full=False)
    panels[0, -1].legend(loc="upper center")
    yield Plot(
        "softmax-magnitude",
        title,
        figure,
        f"Share of softmax outputs in bins {1 / MAGNITUDES:g} wide, in percent on a logarithmic scale, on the test set "
        f"of n = {n:,} images and {classes} classes: all of them, and the largest of each image (Arani et al. 2021, "
        f"Fig. 8).",
        Table(("run", "condition", "outputs", "from", "to", "share"), tuple(rows)),
    )
    if reasons:
        yield missing(f"{title} of some students", reasons)


def _draw_networks(panels: NDArray[np.object_], runs: Sequence[Run], condition: str) -> Iterator[tuple[Value, ...]]:
    """The suite's networks, which students share: each from the first record that has it."""
    drawn = set()
    for run in runs:
        for found in histograms(run.record.scores, condition):
            place = ("all", "largest").index(found.outputs) if found.outputs in ("all", "largest") else None
            if found.network == "student" or place is None or (found.network, place) in drawn:
                continue
            drawn.add((found.network, place))
            panels[place].stairs(found.share, found.edges, color=FAINT, lw=1.8, label=plain(found.network, 22))
            ends = zip(found.edges[:-1].tolist(), found.edges[1:].tolist(), found.share.tolist(), strict=True)
            yield from ((found.network, condition, found.outputs, *bin_) for bin_ in ends)
