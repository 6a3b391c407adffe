"""The paper's figure from what was measured: lines, bars, histograms and heat maps, as points with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from kdbench.comparing.drawing import draw
from kdbench.comparing.series import Line, Panel, Series
from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Axis, Measurement
from kdbench.report.style import COLOURS, MOST_RUNS, draw_intervals, grid_of, legend_outside, make_figure, plain
from kdbench.reproducing.judging import Point
from kdbench.reproducing.reproduction import Figure, Reproduction, Value

MOST_PANELS: Final = 12
HATCHES: Final = ("", "//", "..", "xx")
"""Of bars beyond the number of colours."""


def draw_points(figure: Figure, points: Sequence[Point], suite: str) -> Canvas | None:
    """The figure, inside ``styled()``; None where nothing was measured that it could show.

    Published numbers are not in it: a figure at another scale would set them beside another experiment.

    Args:
        suite: label, for the caption of lines.

    Raises:
        KdbenchError: more lines or panels than can be distinguished: ``check_figure`` says so before.
    """
    measured = [point for point in points if point.measured is not None]
    if not measured:
        return None
    if figure.kind == "heatmap":
        return _heatmap(figure, measured)
    panels = _by(measured, lambda point: point.cell.panel)
    if figure.kind == "lines":
        return _lines(figure, panels, suite)
    return _panels(figure, panels)


def check_figure(reproduction: Reproduction, scale: str) -> None:
    """Raise ``KdbenchError`` where what a scale measures is more than its figure can show."""
    figure, cells = reproduction.figure, reproduction.measured(scale)
    if figure is None or figure.kind == "heatmap":
        return
    for kind, names, most in (
        ("panel", {cell.panel for cell in cells}, MOST_PANELS),
        ("line", {cell.line for cell in cells}, MOST_RUNS if figure.kind != "bars" else MOST_RUNS * len(HATCHES)),
    ):
        if len(names) > most:
            raise KdbenchError(
                f"'{reproduction.id}' at scale {scale}: its figure has {len(names)} {kind}s, at most {most} can be "
                "distinguished", f"give cells fewer values of `{kind}`, or draw a heatmap"
            )  # fmt: skip


def _by(points: Sequence[Point], key: Callable[[Point], str]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(key(point), []).append(point)
    return found


def _measurement(point: Point) -> Measurement:
    assert point.measured is not None
    return point.measured


def _lines(figure: Figure, panels: dict[str, list[Point]], suite: str) -> Canvas:
    """Values against a number; a line whose only point has no x is level."""
    series = Series(figure.x or "x", tuple(_panel(title, own) for title, own in panels.items()))
    return draw(series, suite, log_x=figure.log_x, log_y=figure.log_y).figure


def _panel(title: str, points: Sequence[Point]) -> Panel:
    score = _measurement(points[0]).per_seed[0][1]
    axis = Axis(
        key=title, title=title or points[0].cell.column, condition=score.condition, task=score.task,
        metric=score.metric, setting=score.setting, unit=score.unit, higher_is_better=score.higher_is_better,
    )  # fmt: skip
    lines = []
    for name, own in _by(points, lambda point: point.cell.line).items():
        values: list[tuple[Value | None, Measurement]] = [(point.x, _measurement(point)) for point in own]
        if all(isinstance(x, float) for x, _ in values):
            values.sort(key=lambda one: float(one[0] or 0))
        lines.append(Line(name, tuple(values)))
    return Panel(axis, tuple(lines))


def _panels(figure: Figure, panels: dict[str, list[Point]]) -> Canvas:
    """Bars side by side, or histograms as steps: a panel each, one legend."""
    down, across = grid_of(len(panels), most=3)
    canvas = make_figure(2.6 * down, 4.6 if across == 1 else 7.0)
    grid = list(canvas.subplots(down, across, squeeze=False).flat)
    lines = list(dict.fromkeys(point.cell.line for own in panels.values() for point in own))
    for axes, (title, own) in zip(grid, panels.items(), strict=False):
        (_steps if figure.kind == "histogram" else _bars)(axes, own, lines)
        axes.set_title(plain(title, 30))
        axes.set_xlabel(plain(figure.x, 40))
        unit = f" ({own[0].unit})" if own[0].unit else ""
        axes.set_ylabel(f"{plain(figure.y or own[0].cell.metric, 30)}{unit}")
        if figure.log_y:
            axes.set_yscale("log")
    for axes in grid[len(panels) :]:
        axes.remove()
    if len(lines) > 1:
        legend_outside(canvas, grid[0], "upper", most=4 if across > 1 else 2)
    return canvas


def _steps(axes: Axes, points: Sequence[Point], lines: Sequence[str]) -> None:
    """Share of each bin, at its left edge."""
    for name, own in _by(points, lambda point: point.cell.line).items():
        ends = sorted((float(point.x or 0), point.factor * _measurement(point).value) for point in own)
        number = lines.index(name)
        x, y = np.array(ends).T
        axes.step(x, y, where="post", color=COLOURS[number % MOST_RUNS], label=plain(name, 40))


def _bars(axes: Axes, points: Sequence[Point], lines: Sequence[str]) -> None:
    """Groups by ``x``, else by row; in each a bar for every line, with its interval."""
    groups = list(dict.fromkeys(_group(point) for point in points))
    here = list(dict.fromkeys(point.cell.line for point in points))
    alone = all(_group(point) == point.cell.line for point in points)  # one bar a group: nothing to set side by side
    width = 0.8 if alone else 0.8 / len(here)
    for place, name in enumerate(here):
        own = [point for point in points if point.cell.line == name]
        shift = 0.0 if alone else width * (place - (len(here) - 1) / 2)
        ends = np.array([(one.value, one.ci_low, one.ci_high) for one in map(_measurement, own)])
        value, low, high = own[0].factor * ends.T
        number = lines.index(name)
        places = [groups.index(_group(point)) + shift for point in own]
        axes.bar(places, value, width, color=COLOURS[number % MOST_RUNS],
                 hatch=HATCHES[number // MOST_RUNS % len(HATCHES)], label=plain(name, 40))  # fmt: skip
        draw_intervals(axes, places, low, high, ecolor="black", elinewidth=1)
    axes.set_xticks(range(len(groups)), [plain(group, 20) for group in groups], rotation=45, ha="right")


def _group(point: Point) -> str:
    return point.cell.row if point.x is None else point.x if isinstance(point.x, str) else f"{point.x:g}"


def _heatmap(figure: Figure, points: Sequence[Point]) -> Canvas:
    """Rows by columns, each number written in its field."""
    rows = list(dict.fromkeys(point.cell.row for point in points))
    columns = list(dict.fromkeys(point.cell.column for point in points))
    table = np.full((len(rows), len(columns)), np.nan)
    for point in points:
        place = rows.index(point.cell.row), columns.index(point.cell.column)
        table[place] = point.factor * _measurement(point).value
    canvas = make_figure(0.9 + 0.32 * len(rows), min(7.0, 2.4 + 0.75 * len(columns)))
    axes = canvas.subplots()
    axes.grid(visible=False)
    image = axes.imshow(np.ma.masked_invalid(table), aspect="auto")
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                      color="white" if value < middle else "black")  # fmt: skip
    axes.set_xticks(range(len(columns)), [plain(column, 20) for column in columns], rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), [plain(row, 30) for row in rows])
    axes.set_xlabel(plain(figure.x, 40))
    axes.set_ylabel(plain(figure.y, 40))
    canvas.colorbar(image, label=points[0].unit)
    return canvas
