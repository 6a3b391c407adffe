"""Plots of a record alone: its scores, the corruptions, accuracy against k, and transfer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes

from kdbench.leaderboard.axes import columns
from kdbench.leaderboard.board import Axis
from kdbench.report.collect import conditions_of
from kdbench.report.parts import Missing, Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import (
    COLOURS,
    LINES,
    MARKERS,
    draw_intervals,
    grid_of,
    in_percent,
    legend_outside,
    make_figure,
    percent,
    plain,
)
from kdbench.results.evidence import Evidence
from kdbench.results.figures import (
    Array,
    HeatMap,
    StepCurve,
    TransferTable,
    corruption_maps,
    step_lines,
    transfer_tables,
)
from kdbench.results.record import Score
from kdbench.results.wording import FLAG, describe_setting, name, shared, words

Found = TypeVar("Found", HeatMap, TransferTable)

TRANSFER = "Transfer of adversarial examples"
DOWN = "\N{DOWNWARDS ARROW}"
"""Stands beside what is better lower."""


def scores(runs: Sequence[Run]) -> Iterator[Part]:
    """The scores that a leaderboard ranks, one per task and condition, with their intervals."""
    evidence = {run: Evidence(run.record, run.path, None, None, ()) for run in runs}
    found = columns(runs[0].record.spec.suite, list(evidence.values()))
    by_axis = [
        (column.axis, {run: score for run, one in evidence.items() if (score := column.score(one)) is not None})
        for column in found
        if column.axis.unit == "fraction"
    ]
    by_axis = [(axis, by_run) for axis, by_run in by_axis if by_run]
    if not by_axis:
        yield missing("Scores", [f"{run.label} measured nothing: {run.record.error}" for run in runs])
        return
    figure = make_figure(len(by_axis) * (0.2 + 0.09 * len(runs)) + 0.7)
    axes = figure.subplots()
    rows = _draw_scores(axes, runs, by_axis)
    in_percent(axes, "percent of test images, with 95 % intervals", along="x")
    if len(runs) > 1:
        legend_outside(figure, axes, "upper")
    yield Plot(
        "scores",
        "Scores",
        figure,
        f"The scores that a leaderboard ranks, in percent, with 95 % intervals over the n test images (Wilson's for "
        f"shares, bootstrap for calibration errors). One run each: what another seed would give is not in them. "
        f"{DOWN}: lower is better. Hollow markers and {FLAG}: a failed check makes the score doubtful.",
        Table(("axis", "condition", "score", "run", "value", "ci_low", "ci_high", "n", "flagged"), tuple(rows)),
    )


def _draw_scores(
    axes: Axes, runs: Sequence[Run], by_axis: Sequence[tuple[Axis, Mapping[Run, Score]]]
) -> list[tuple[Value, ...]]:
    rows: list[tuple[Value, ...]] = []
    places = np.arange(len(by_axis))[::-1] * 1.0
    for number, run in enumerate(runs):
        offset = 0.6 * ((len(runs) - 1) / 2 - number) / max(len(runs), 2)
        for place, (axis, by_run) in zip(places, by_axis, strict=True):
            score = by_run.get(run)
            if score is None:
                continue
            flagged = bool(run.record.flags(score))
            rows.append((axis.title, axis.condition, name(score), run.label, *_ends(score), score.n, flagged))
            draw_intervals(axes, [place + offset], [score.ci_low], [score.ci_high], along="x", ecolor=COLOURS[number],
                           clip_on=False)  # fmt: skip
            axes.plot([score.value], [place + offset], MARKERS[number], color=COLOURS[number],
                      mfc="white" if flagged else COLOURS[number], clip_on=False)  # fmt: skip
            text = f"{percent(score.value)} ({percent(score.ci_low)}\N{EN DASH}{percent(score.ci_high)})"
            if len(runs) == 1:
                axes.annotate(f"{text}{' ' + FLAG if flagged else ''}", (1.02, place), va="center", fontsize=8.5,
                              xycoords=("axes fraction", "data"))  # fmt: skip
        axes.plot([], [], MARKERS[number], color=COLOURS[number], label=run.label)
    axes.set_yticks(places, [_title(axis, by_run) for axis, by_run in by_axis])
    axes.set_ylim(-0.6, len(by_axis) - 0.4)
    return rows


def _title(axis: Axis, by_run: Mapping[Run, Score]) -> str:
    counts = sorted({score.n for score in by_run.values()})
    return f"{plain(axis.title, 36)}{'' if axis.higher_is_better else f' {DOWN}'}, n = {_range(counts)}"


def _range(counts: Sequence[int]) -> str:
    """The first and the last of ascending numbers, where they are two."""
    return "\N{EN DASH}".join(f"{count:,}" for count in (*counts[:1], *counts[1:][-1:]))


def _ends(score: Score) -> tuple[float, float, float]:
    return score.value, score.ci_low, score.ci_high


def corruptions(runs: Sequence[Run]) -> Iterator[Part]:
    """Corruptions by severities, one panel per run; for two runs also their difference."""
    for condition in conditions_of(runs):
        found = _by_task({run: corruption_maps(run.record.scores, condition) for run in runs})
        for number, (task, maps) in enumerate(found.items()):
            yield _corruption_plot(f"corruptions{_nth(number)}", task, maps, condition)
        if found:
            return
    yield missing("Accuracy under corruptions", ["no run measured corruptions"])


def _by_task(found: Mapping[Run, Mapping[str, Found]]) -> dict[str, dict[Run, Found]]:
    """Task to what each run has of it."""
    tasks = dict.fromkeys(task for by_task in found.values() for task in by_task)
    return {task: {run: by_task[task] for run, by_task in found.items() if task in by_task} for task in tasks}


def _nth(number: int) -> str:
    """Of a plot's key, which no two have alike."""
    return f"-{number + 1}" if number else ""


def _corruption_plot(key: str, task: str, maps: dict[Run, HeatMap], condition: str) -> Plot:
    first = next(iter(maps.values()))
    panels: list[tuple[str, Array, bool]] = [
        (f"{run.label}: mean {percent(float(np.nanmean(found.value)))} %", found.value, False)
        for run, found in maps.items()
    ]
    alike = all(
        (found.corruptions, found.severities) == (first.corruptions, first.severities) for found in maps.values()
    )
    if len(maps) == 2 and alike:
        one, other = maps.values()
        panels.append((" \N{MINUS SIGN} ".join(run.label for run in maps), one.value - other.value, True))
    down, across = grid_of(len(panels), most=1 if len(panels) == 1 else 3)
    figure = make_figure((0.19 * len(first.corruptions) + 0.9) * down + 0.3, 4.6 if len(panels) == 1 else 7.0)
    grid = list(figure.subplots(down, across, squeeze=False, sharey=alike).flat)
    for axes, (title, value, is_difference) in zip(grid, panels, strict=False):
        names = first.corruptions if alike else next(m for m in maps.values() if m.value is value).corruptions
        _draw_cells(axes, value, names, first.severities, is_difference)
        axes.set_title(plain(title, 36 // across + 14), fontsize=9)
    for axes in grid[len(panels) :]:
        axes.remove()
    difference = ", and the difference in points" if len(panels) > len(maps) else ""
    widest = max(float(np.nanmax(found.ci_high - found.ci_low)) for found in maps.values()) / 2
    rows = tuple(
        (run.label, corruption, severity, float(found.value[i, j]), float(found.ci_low[i, j]),
         float(found.ci_high[i, j]), found.n)
        for run, found in maps.items()
        for i, corruption in enumerate(found.corruptions)
        for j, severity in enumerate(found.severities)
    )  # fmt: skip
    return Plot(
        key,
        "Accuracy under corruptions",
        figure,
        f"Task {plain(task, 40)}: accuracy in percent by corruption and severity (1 mildest, 5 strongest), student "
        f"trained under {condition}; in the titles the mean over all cells{difference}. n = {first.n:,} test "
        f"images per cell, the same in all; 95 % intervals (Wilson) reach at most {percent(widest)} points to "
        f"either side.",
        Table(("run", "corruption", "severity", "accuracy", "ci_low", "ci_high", "n"), rows),
    )


def _draw_cells(axes: Axes, value: Array, names: Sequence[str], severities: Sequence[int], is_difference: bool) -> None:
    shown = np.ma.masked_invalid(value)
    most = max(0.05, float(np.abs(shown).max())) if is_difference else 1.0
    axes.imshow(
        shown, vmin=-most if is_difference else 0.0, vmax=most, aspect="auto", cmap="PuOr" if is_difference else None
    )
    for (row, column), cell in np.ndenumerate(value):
        if not np.isnan(cell):
            dark = abs(cell) > 0.6 * most if is_difference else cell < 0.55
            text = f"{round(100 * cell):+d}" if is_difference else f"{100 * cell:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(severities)), [str(severity) for severity in severities])
    axes.set_yticks(range(len(names)), [plain(corruption.replace("_", " "), 20) for corruption in names])
    axes.set_xlabel("severity")
    axes.grid(False)
    axes.tick_params(length=0)


def steps(runs: Sequence[Run]) -> Iterator[Part]:
    """Accuracy against the number of attack steps, one panel per variant, one line per run and rule."""
    title = "Accuracy against the number of attack steps"
    for condition in conditions_of(runs):
        found = {run: step_lines(run.record.scores, condition) for run in runs}
        every = [line for lines in found.values() for line in lines]
        if not every:
            continue
        known = shared([line.setting for line in every])
        groups = list(dict.fromkeys(_attack(line, known) for line in every))
        down, across = grid_of(len(groups), most=2)
        figure = make_figure(2.5 * down, 7.0 if across > 1 else 4.6)
        grid = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
        rows: list[tuple[Value, ...]] = []
        for axes, group in zip(grid, groups, strict=False):
            axes.set_title(plain(group, 30))
            axes.set_xlabel("steps k")
            for number, (run, lines) in enumerate(found.items()):
                for line in (line for line in lines if _attack(line, known) == group):
                    rule = str(line.setting.get("rule", ""))
                    lasting = rule == "any"
                    label = ", ".join(
                        filter(None, (run.label, {"last": "iterate k", "any": "all up to k"}.get(rule, rule)))
                    )
                    axes.plot(line.x, line.value, LINES[1] if lasting else LINES[0], color=COLOURS[number],
                              marker=MARKERS[number], mfc="white" if lasting else None, ms=4, clip_on=False,
                              markevery=max(1, len(line.x) // 7), label=plain(label))  # fmt: skip
                    axes.fill_between(line.x, line.ci_low, line.ci_high, color=COLOURS[number], alpha=0.15, lw=0)
                    points = zip(line.x, line.value, line.ci_low, line.ci_high, strict=True)
                    rows += [(run.label, group, rule, *map(float, point), line.n) for point in points]
        for axes in grid[len(groups) :]:
            axes.remove()
        n = min(line.n for lines in found.values() for line in lines)
        in_percent(grid[0], f"accuracy (%), n = {n:,}")
        legend_outside(figure, grid[0], "lower", most=max(2, len(runs)))
        yield Plot(
            "steps",
            title,
            figure,
            f"Accuracy in percent along the first start of each attack on the student trained under {condition}: of "
            f"the iterate after k steps, and of images that no iterate up to k broke.{_setting(known)} Bands: 95 % "
            f"intervals (Wilson) over n = {n:,} test images.",
            Table(("run", "attack", "rule", "k", "accuracy", "ci_low", "ci_high", "n"), tuple(rows)),
        )
        return
    yield missing(title, ["no run has accuracies step by step"])


def _attack(line: StepCurve, known: Mapping[str, Any]) -> str:
    """The attack in words, without the rule and what all curves have alike."""
    own = {key: value for key, value in line.setting.items() if key != "rule" and key not in known}
    return ", ".join(describe_setting({key: value}) for key, value in own.items()) or line.task


def _setting(known: Mapping[str, Any]) -> str:
    return f" Setting: {plain(words(known), 200)}." if known else ""


def transfer(runs: Sequence[Run]) -> Iterator[Part]:
    """Accuracy on examples made on each source, one column per run; over all images and over those right unattacked."""
    for condition in conditions_of(runs):
        found = _by_task({run: transfer_tables(run.record.scores, condition) for run in runs})
        for number, (task, tables) in enumerate(found.items()):
            yield _transfer_plot(f"transfer{_nth(number)}", task, tables, condition)
        if found:
            return
    yield Missing(TRANSFER, ("no run measured transfer",))


def _transfer_plot(key: str, task: str, tables: dict[Run, TransferTable], condition: str) -> Plot:
    sources = list(dict.fromkeys(source for table in tables.values() for source in table.sources))
    figure = make_figure(0.5 * len(sources) + 1.1 + 0.4 * (len(tables) > 2), 7.0)
    panels = figure.subplots(1, 2, sharey=True)
    rows: list[tuple[Value, ...]] = []
    for axes, what in zip(panels, ("all images", "images right unattacked"), strict=True):
        rows += _draw_transfer(axes, tables, sources, what)
    panels[0].set_ylabel("made on")
    known = shared([score.setting for table in tables.values() for score in table.accuracy])
    white_box = " 'self' is the white box." if "self" in sources else ""
    return Plot(
        key,
        TRANSFER,
        figure,
        f"Task {plain(task, 40)}: accuracy in percent on adversarial examples made on each source network, student "
        f"trained under {condition}, with 95 % intervals (Wilson) over n test images.{white_box}{_setting(known)}",
        Table(("run", "source", "images", "accuracy", "ci_low", "ci_high", "n"), tuple(rows)),
    )


def _draw_transfer(
    axes: Axes, found: dict[Run, TransferTable], sources: Sequence[str], what: str
) -> list[tuple[Value, ...]]:
    rows: list[tuple[Value, ...]] = []
    value = np.full((len(sources), len(found)), np.nan)
    for column, (run, table) in enumerate(found.items()):
        taken = table.accuracy if what == "all images" else table.conditional
        for source, score in zip(table.sources, taken, strict=True):
            if score is not None:
                row = sources.index(source)
                value[row, column] = score.value
                rows.append((run.label, source, what, *_ends(score), score.n))
                text = f"{percent(score.value)}\n{percent(score.ci_low)}\N{EN DASH}{percent(score.ci_high)}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8,
                          color="white" if score.value < 0.5 else "black")  # fmt: skip
    axes.imshow(np.ma.masked_invalid(value), vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(found)), [plain(run.label, 14) for run in found], rotation=20 if len(found) > 2 else 0)
    axes.set_yticks(range(len(sources)), [plain(source, 20) for source in sources])
    counts = sorted({int(str(row[-1])) for row in rows})
    axes.set_title(f"{what}, n = {_range(counts)}" if counts else what)
    axes.grid(False)
    axes.tick_params(length=0)
    return rows
