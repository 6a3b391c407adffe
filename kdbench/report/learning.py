"""How a student came to be: training and over-fitting curves, a method's own numbers, softmax vectors over epochs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.metrics import wilson_interval
from kdbench.report.collect import collect
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import COLOURS, LINES, MARKERS, in_percent, legend_outside, make_figure, percent, plain
from kdbench.results.figures import TrainingCurves


def _all_curves(runs: Sequence[Run]) -> tuple[dict[str, dict[Run, TrainingCurves]], list[str]]:
    """Condition to each run's curves."""
    curves = functools.cache(Run.curves)

    def curves_of(run: Run, condition: str) -> TrainingCurves:
        if condition not in curves(run):
            raise KdbenchError(f"the log of {run.label} has no epoch under {condition}")
        return curves(run)[condition]

    return collect(runs, curves_of)


def training_curves(runs: Sequence[Run]) -> Iterator[Part]:
    """Test accuracy and training loss over epochs, one column per condition; the peak and the end are marked."""
    title = "Training and over-fitting"
    found, reasons = _all_curves(runs)
    if not found:
        yield missing(title, reasons)
        return
    figure = make_figure(4.3 + 0.16 * len(runs), 7.0 if len(found) > 1 else 4.6)
    panels = figure.subplots(2, len(found), squeeze=False, sharex="col", height_ratios=[3, 2])
    rows: list[tuple[Value, ...]] = []
    drops = []
    for (upper, lower), (condition, by_run) in zip(panels.T, found.items(), strict=True):
        sizes = sorted({curves.test_n for curves in by_run.values() if curves.test_n})
        upper.set_title(f"trained under {plain(condition)}")
        in_percent(upper, f"test accuracy (%), n = {sizes[0]:,}" if sizes else "test accuracy (%)", full=False)
        for run, curves in by_run.items():
            drops += _draw_accuracy(upper, curves, runs.index(run), run, condition)
            if "loss" in curves.series:
                lower.plot(
                    curves.epoch, curves.series["loss"], ls=LINES[runs.index(run)], color=COLOURS[runs.index(run)]
                )
            for i, epoch in enumerate(curves.epoch.tolist()):
                values = (float(curves.series[name][i]) if name in curves.series else None for name in COLUMNS)
                rows.append((run.label, condition, epoch, *values, curves.test_n))
        if upper.lines:
            upper.legend(loc="best", fontsize=8)
        upper.margins(y=0.12)
        lower.set_xlabel("epoch")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        lower.set_ylabel("training loss (nats)")
    yield Plot(
        "curves",
        title,
        figure,
        f"Accuracy on a fixed part of the test images after each epoch, with 95 % bands (Wilson), and the mean "
        f"training loss. Thin: under the attack of the suite's watch, if any. "
        f"Hollow marker: the best epoch; filled: the last, which alone is measured. {' '.join(drops)} "
        f"The best of many epochs is partly luck, so small drops mean nothing. Losses of different methods are not "
        f"comparable.",
        Table(("run", "condition", "epoch", *COLUMNS, "test_n"), tuple(rows)),
    )
    if reasons:
        yield missing(f"{title} of some students", reasons)


COLUMNS = ("loss", "test_accuracy", "test_pgd_accuracy", "lr", "seconds")


def _draw_accuracy(axes: Axes, curves: TrainingCurves, number: int, run: Run, condition: str) -> list[str]:
    """Draws one student's accuracies; returns a sentence on their drop."""
    accuracy, end = curves.series.get("test_accuracy"), curves.overfitting()
    if accuracy is None or end is None:
        return []
    colour = COLOURS[number]
    label = f"{plain(run.label, 22)}: drop {percent(end.drop)} points"
    axes.plot(curves.epoch, accuracy, ls=LINES[number], color=colour)
    if curves.test_n and ((accuracy >= 0) & (accuracy <= 1)).all():
        bands = np.array([wilson_interval(value * curves.test_n, curves.test_n) for value in accuracy])
        axes.fill_between(curves.epoch, bands[:, 0], bands[:, 1], color=colour, alpha=0.15, lw=0)
    if "test_pgd_accuracy" in curves.series:
        axes.plot(curves.epoch, curves.series["test_pgd_accuracy"], ls=LINES[number], lw=0.9, color=colour)
    axes.plot(end.peak_epoch, end.peak, MARKERS[number], color=colour, mfc="white", ms=7)
    axes.plot(end.last_epoch, end.last, MARKERS[number], color=colour, ms=5)
    axes.plot([], [], MARKERS[number], ls=LINES[number], color=colour, label=label)
    return [
        f"{run.label} under {condition}: peak {percent(end.peak)} % in epoch {end.peak_epoch}, last "
        f"{percent(end.last)} % in epoch {end.last_epoch}, drop {percent(end.drop)} points."
    ]


def method_numbers(runs: Sequence[Run], train_size: dict[str, int]) -> Iterator[Part]:
    """What methods add to their log, one row per number and one column per condition.

    A count of examples is held against the N training images, and against 2 N where two networks pass them to each
    other (knowledge exchange, Li et al. 2023, Fig. 2).
    """
    title = "Numbers that methods log"
    found, reasons = _all_curves(runs)
    names = list(dict.fromkeys(name for by_run in found.values() for curves in by_run.values() for name in curves.own))
    if not names:
        yield missing(title, reasons or ["the methods log no numbers of their own"])
        return
    conditions = [c for c, by_run in found.items() if any(curves.own for curves in by_run.values())]
    figure = make_figure(2.4 * len(names) + 0.3, 7.0 if len(conditions) > 1 else 4.6)
    panels = figure.subplots(len(names), len(conditions), squeeze=False, sharex="col", sharey="row")
    rows: list[tuple[Value, ...]] = []
    for line, name in zip(panels, names, strict=True):
        for axes, condition in zip(line, conditions, strict=True):
            axes.set_title(f"trained under {plain(condition)}" if name == names[0] else "")
            for run, curves in found[condition].items():
                if name in curves.own:
                    number = runs.index(run)
                    axes.plot(curves.epoch, curves.own[name], ls=LINES[number], color=COLOURS[number],
                              marker=MARKERS[number], ms=4, label=plain(run.label, 30))  # fmt: skip
                    points = zip(curves.epoch.tolist(), curves.own[name].tolist(), strict=True)
                    rows += [(run.label, condition, name, *point) for point in points]
                    _draw_size(axes, curves.own[name], train_size.get(condition))
            axes.margins(y=0.1)
        line[0].set_ylabel(plain(name.replace("_", " "), 30))
        next(axes for axes in line if axes.lines).legend(loc="best")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    yield Plot(
        "method-numbers",
        title,
        figure,
        "What the methods themselves wrote to their log after each epoch, one training run each, no interval. Dotted: "
        "the number of training images N, and 2 N, where counts of images reach so far.",
        Table(("run", "condition", "number", "epoch", "value"), tuple(rows)),
    )


def _draw_size(axes: Axes, values: NDArray[np.float64], size: int | None) -> None:
    """Lines at N and 2 N under whole numbers that could count images."""
    known = values[~np.isnan(values)]
    if (
        size is None
        or not len(known)
        or not (known == np.round(known)).all()
        or not size / 10 < known.max() <= 2 * size
    ):
        return
    for times, text in ((1, "N"), (2, "2 N")):
        if times == 1 or known.max() > size:
            axes.axhline(times * size, color="black", lw=0.9, ls=":")
            axes.annotate(f"{text} = {times * size:,}", (1, times * size), xycoords=("axes fraction", "data"),
                          ha="right", va="bottom", fontsize=8)  # fmt: skip


def polygon_projection(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax vectors (..., C) in the plane (..., 2): sum_c p_c (cos 2 pi c / C, sin 2 pi c / C), the corners of a
    regular polygon weighted by probability (Shon et al. 2024, Fig. 2).

    >>> np.abs(polygon_projection(np.array([[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]))).round(6).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    angle = 2 * np.pi * np.arange(probabilities.shape[-1]) / probabilities.shape[-1]
    corners = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    projected: NDArray[np.float64] = probabilities @ corners
    return projected


SHOWN_EPOCHS = 4


def polygons(runs: Sequence[Run], class_names: Sequence[str]) -> Iterator[Part]:
    """Softmax vectors of watched test images after some epochs, one row per run and one plot per condition."""
    title = "Softmax vectors over epochs"
    found, reasons = collect(runs, Run.softmax_history)
    for condition, by_run in found.items():
        figure = make_figure(1.72 * len(by_run) + 0.2)
        panels = figure.subplots(len(by_run), SHOWN_EPOCHS, squeeze=False)
        rows: list[tuple[Value, ...]] = []
        for line, (run, history) in zip(panels, by_run.items(), strict=True):
            points = polygon_projection(history.softmax)
            epochs = np.unique(np.linspace(0, len(points) - 1, SHOWN_EPOCHS).round().astype(int))
            for axes in line:
                axes.set_axis_off()
            for axes, epoch in zip(line, epochs, strict=False):
                right = history.softmax[epoch].argmax(1) == history.labels
                axes.set_title(f"epoch {epoch + 1}: {percent(float(right.mean()), 0)} % right", fontsize=8.5)
                _draw_polygon(axes, points[epoch], history.labels, history.softmax.shape[2], class_names)
            line[0].annotate(plain(run.label, 20), (-0.12, 0.5), xycoords="axes fraction", rotation=90, va="center",
                             ha="center", fontweight="bold")  # fmt: skip
            for epoch, image in np.ndindex(points.shape[:2]):
                x, y = points[epoch, image].tolist()
                rows.append((run.label, condition, epoch + 1, image, int(history.labels[image]), x, y))
        legend_outside(figure, panels[0, 0], "lower", most=5)
        n = min(len(history.labels) for history in by_run.values())
        yield Plot(
            f"polygon-{condition}",
            f"{title}, trained under {condition}",
            figure,
            f"Softmax vectors of the same n = {n} test images after some of the epochs, projected on a regular polygon "
            f"with one corner per class (Shon et al. 2024, Fig. 2): at a corner the student is sure of that class, in "
            f"the middle of nothing. Marks: the true class.",
            Table(("run", "condition", "epoch", "image", "true_class", "x", "y"), tuple(rows)),
        )
    if reasons:
        yield missing(f"{title} of some students" if found else title, reasons)


CLASS_COLOURS = (*COLOURS, "#8B4513", "#7F7F7F", "#B8A900")
CLASS_MARKERS = "os^DvPX*<>"


def _draw_polygon(
    axes: Axes, points: NDArray[np.float64], labels: NDArray[np.int64], classes: int, class_names: Sequence[str]
) -> None:
    corners = polygon_projection(np.eye(classes))
    closed = np.concatenate([corners, corners[:1]])
    axes.plot(closed[:, 0], closed[:, 1], color="#8c8c8c", lw=0.9)
    axes.set_aspect("equal")
    axes.set_xlim(-1.28, 1.28)
    axes.set_ylim(-1.28, 1.28)
    if classes > len(CLASS_COLOURS):  # too many to distinguish: a circle of hues, as the corners are
        axes.scatter(points[:, 0], points[:, 1], c=labels / classes, cmap="twilight", s=9, vmin=0, vmax=1)
        return
    named = class_names if len(class_names) == classes else [str(c) for c in range(classes)]
    for c in range(classes):
        own = points[labels == c]
        x, y = (1.14 * corners[c]).tolist()
        axes.text(x, y, str(c), ha="center", va="center", fontsize=8, color=CLASS_COLOURS[c])
        axes.scatter(own[:, 0], own[:, 1], s=13, color=CLASS_COLOURS[c], marker=CLASS_MARKERS[c], lw=0, alpha=0.85,
                     label=plain(f"{c} {named[c]}" if named[c] != str(c) else str(c), 16), clip_on=False)  # fmt: skip
