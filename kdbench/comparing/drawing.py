"""Figures of scores against a parameter, with 95 % intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from kdbench.comparing.series import Line, Panel, Series, Value
from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Axis, Measurement
from kdbench.report.parts import Plot, Table
from kdbench.report.style import (
    COLOURS,
    FAINT,
    LINES,
    MARKERS,
    MOST_RUNS,
    draw_intervals,
    grid_of,
    in_percent,
    legend_outside,
    make_figure,
    pdf_of,
    plain,
    png_of,
    svg_of,
)

DOWN = "\N{DOWNWARDS ARROW}"
MOST_PANELS = 12
MOST_TICKS = 9
"""Values of a parameter that have a tick each on a logarithmic scale."""
APART = 3.5
"""Points between lines at one value of the parameter, so that no interval hides another."""

WRITERS: Mapping[str, Callable[[Plot], bytes]] = {
    ".png": lambda plot: png_of(plot.figure),
    ".svg": lambda plot: svg_of(plot.figure),
    ".pdf": lambda plot: pdf_of(plot.figure),
    ".csv": lambda plot: plot.table.to_csv().encode("utf-8", "replace"),
}
"""Ending of a file to what is in it."""


def draw(series: Series, suite: str, *, log_x: bool = False, log_y: bool = False, caption: bool = True) -> Plot:
    """The figure with its numbers; inside ``styled()``.

    Args:
        suite: its label, for the caption.
        log_x: logarithmic scale of the parameter; ``log_y`` of the scores.
        caption: whether the caption is in the figure, below its panels.

    Raises:
        KdbenchError: more lines or panels than can be distinguished, or a logarithm of what has none.
    """
    _check(series, log_x, log_y)
    down, across = grid_of(len(series.panels), most=2 if len(series.panels) == 4 else 3)
    figure = make_figure(2.6 * down, 4.6 if across == 1 else 7.0)
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, panel in zip(grid, series.panels, strict=False):
        _draw_panel(axes, panel, series, log_x=log_x, log_y=log_y)
    for axes in grid[len(series.panels) :]:
        axes.remove()
    if len(series.titles) > 1:
        legend_outside(figure, _fullest(grid, series), "upper", most=4 if across > 1 else 2)
    text = _caption(series, suite)
    if caption:
        lines = textwrap.wrap(text, int(18 * figure.get_figwidth()))
        figure.set_figheight(figure.get_figheight() + 0.14 * len(lines) + 0.05)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=FAINT)
    return Plot("plot", f"against {series.x}", figure, text, _table(series))


def _fullest(grid: Sequence[Axes], series: Series) -> Axes:
    """The panel with most lines, whose legend is that of all."""
    counts = [len(panel.lines) for panel in series.panels]
    return grid[counts.index(max(counts))]


def _check(series: Series, log_x: bool, log_y: bool) -> None:
    if len(series.titles) > MOST_RUNS:
        raise KdbenchError(
            f"{len(series.titles)} lines, at most {MOST_RUNS} can be distinguished", "choose methods with --method"
        )
    if len(series.panels) > MOST_PANELS:
        raise KdbenchError(f"{len(series.panels)} panels, at most {MOST_PANELS}", "choose scores with --y")
    wrong = [value for value in series.values if isinstance(value, str) or value <= 0] if log_x else []
    if wrong:
        raise KdbenchError(f"a logarithmic scale has no place for {series.x} = {wrong[0]}", "leave --log-x out")
    low = [p.axis.title for p in series.panels for line in p.lines for _, one in line.points if one.value <= 0]
    if log_y and low:
        raise KdbenchError(f"a logarithmic scale has no place for {low[0]} = 0", "leave --log-y out")


def _draw_panel(axes: Axes, panel: Panel, series: Series, *, log_x: bool, log_y: bool) -> None:
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    titles, moving = series.titles, [title for title in series.titles if title not in series.flat]
    for number, title in enumerate(titles):
        shift = APART * (number - (len(moving) - 1) / 2)  # flat ones come last
        for line in (line for line in panel.lines if line.title == title):
            _draw_line(axes, line, number, series, shift=shift)
    axes.margins(x=0.1)
    axes.autoscale_view()
    axes.set_title(plain(panel.axis.title, 30))
    axes.set_xlabel(plain(series.x))
    _label_y(axes, panel.axis, log_y)
    _label_x(axes, series.values, log_x)


def _draw_line(axes: Axes, line: Line, number: int, series: Series, *, shift: float) -> None:
    look: dict[str, Any] = {"color": COLOURS[number], "ls": LINES[number]}
    label = plain(line.title, 40)
    if line.flat:
        one = line.points[0][1]
        axes.axhspan(one.ci_low, one.ci_high, color=COLOURS[number], alpha=0.1, lw=0)
        axes.axhline(one.value, **look, label=label)
        return
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    moved = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    x = [_place(value, series.values) for value, _ in line.points]
    ends = np.array([(one.value, one.ci_low, one.ci_high) for _, one in line.points]).reshape(-1, 3)
    value, low, high = ends.T
    axes.update_datalim([*zip(x, low, strict=True), *zip(x, high, strict=True)])  # moved ones don't count
    draw_intervals(axes, x, low, high, ecolor=COLOURS[number], elinewidth=1, transform=moved)
    axes.plot(x, value, **look, marker=MARKERS[number], transform=moved, label=label)
    alone = [place for place, (_, one) in enumerate(line.points) if one.one_seed]
    axes.plot([x[place] for place in alone], value[alone], MARKERS[number], color=COLOURS[number], mfc="white",
              transform=moved)  # fmt: skip


def _place(value: Value | None, values: list[Value]) -> float:
    """Where a value stands: names stand side by side."""
    assert value is not None
    if any(isinstance(one, str) for one in values):
        return float(values.index(value))
    return float(value)


def _label_x(axes: Axes, values: list[Value], log_x: bool) -> None:
    if any(isinstance(value, str) for value in values):
        axes.set_xticks(range(len(values)), [plain(value, 14) for value in values])
        axes.margins(x=0.2)
    elif len(values) <= MOST_TICKS and (log_x or _even(values)):
        axes.set_xticks([float(value) for value in values], [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())


def _even(values: list[Value]) -> bool:
    """Whether a tick at each value leaves room for its number on a linear scale."""
    numbers = np.array(values, dtype=np.float64)
    return len(values) > 1 and bool(np.diff(numbers).min() >= np.ptp(numbers) / MOST_TICKS)


def _label_y(axes: Axes, axis: Axis, log_y: bool) -> None:
    metric, word = axis.metric.replace("_", " "), axis.title.split()[0]
    name = plain(word if word.lower() == metric.lower() else metric, 30)
    down = "" if axis.higher_is_better else f" {DOWN}"
    if axis.unit == "fraction":
        in_percent(axes, f"{name} (%){down}", full=False)
    else:
        axes.set_ylabel(f"{name} ({plain(axis.unit, 20)}){down}")
    if log_y:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _caption(series: Series, suite: str) -> str:
    """What is shown: scores and n, seeds, intervals, and what marks mean."""
    measured = [(panel.axis, one) for panel in series.panels for line in panel.lines for _, one in line.points]
    sizes = {axis.title: one.n for axis, one in measured}
    n = ", ".join(f"{size:,} ({plain(title, 30)})" for title, size in sizes.items())
    n = f"{next(iter(sizes.values())):,}" if len(set(sizes.values())) == 1 else n
    seeds = sorted({len(one.per_seed) for _, one in measured})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    named = list(dict.fromkeys(axis.condition for axis, _ in measured))
    under = f"condition{'s' * (len(named) > 1)} {plain(', '.join(named), 60)}"
    parts = [f"Suite {plain(suite, 60)}, {under}; n = {n} test images, {many} seeds."
             .replace(" 1 seeds", " 1 seed")]  # fmt: skip
    if seeds[-1] > 1:
        parts.append("Means over seeds with 95 % intervals over seeds and test images.")
    if seeds[0] == 1:
        hollow = "Hollow: one" if seeds[-1] > 1 else "One"
        parts.append(f"{hollow} seed, with 95 % intervals over test images alone.")
    if any(not axis.higher_is_better for axis, _ in measured):
        parts.append(f"{DOWN}: lower is better.")
    if any(one.flags for _, one in measured):
        flagged = dict.fromkeys(plain(axis.title, 30) for axis, one in measured if one.flags)
        parts.append(f"A failed check makes scores doubtful: {', '.join(flagged)}.")
    return " ".join(parts)


def _table(series: Series) -> Table:
    columns = ("score", "condition", "line", series.x, "value", "ci_low", "ci_high", "interval_over", "n", "seeds",
               "flagged")  # fmt: skip
    return Table(columns, tuple(
        (panel.axis.title, panel.axis.condition, line.title, x, *_numbers(one), bool(one.flags))
        for panel in series.panels for line in panel.lines for x, one in line.points
    ))  # fmt: skip


def _numbers(one: Measurement) -> tuple[float, float, float, str, int, str]:
    seeds = " ".join(str(seed) for seed, _ in one.per_seed)
    return one.value, one.ci_low, one.ci_high, one.basis, one.n, seeds
