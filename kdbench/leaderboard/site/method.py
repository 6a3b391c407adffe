"""What a method's page shows: its scores on the axes, plots, all scores, and how they came about."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from kdbench.leaderboard.board import Axis, Board, Row
from kdbench.leaderboard.installed import installed_classes
from kdbench.leaderboard.rows import view_words
from kdbench.leaderboard.site import charts
from kdbench.leaderboard.site.history import versions
from kdbench.leaderboard.site.origin import again, explain
from kdbench.leaderboard.site.repository import Repository
from kdbench.leaderboard.site.table import SIGNS, axis_view
from kdbench.leaderboard.site.text import interval, number
from kdbench.leaderboard.submit import reproduce
from kdbench.results.confusion import confusion_of, pooled
from kdbench.results.evidence import Evidence, beside, checkpoint_beside
from kdbench.results.figures import (
    HeatMap,
    TransferTable,
    corruption_maps,
    curves,
    reliability_of,
    step_lines,
    transfer_tables,
)
from kdbench.results.record import Record, Score
from kdbench.results.wording import shared, words

Found = TypeVar("Found", HeatMap, TransferTable)

MOST_SCORES: Final = 3000
"""Lines of a page's table of scores; a record of kdbench's own suites has about 300."""
MOST_OTHERS: Final = 120
"""Seeds of other methods that are drawn beside those of a method."""
MOST_CURVES: Final = 6
"""Numbers of a method's own that are drawn."""
MOST_COLUMNS: Final = 20
"""Classes of a table of all against all; of more, the worst and the commonest mistakes are listed alone."""
MOST_MISTAKES: Final = 10


def method_view(
    board: Board, row: Row, axes: Sequence[BoardAxis], repository: Repository | None = None
) -> dict[str, Any]:
    """What the template of a method's page asks for; ``axes`` are the board's (``board_axes``)."""
    runs = {run.record.spec.seed: run for run in row.runs}
    records = [run.record for run in (*row.runs, *row.failed)]
    sources = [one.record for one in row.records]
    conditions = list(dict.fromkeys(name for record in records for name in record.spec.params))
    groups = _score_groups(row.runs)
    return {
        "axes": [_axis(row, axis) for axis in axes],
        "measured": explain(board, row),
        "again": again(records, row.evaluated is not None),
        "files": [_files(run, repository) for run in row.records],
        "versions": versions(board, row),
        "history": [(one.run_id, one.reason) for one in board.excluded if one.method == row.method],
        "flags": list(dict.fromkeys(flag for cell in row.cells.values() for flag in cell.flags)),
        "conditions": [view for name in conditions if (view := _condition(name, runs))["any"]],
        "groups": groups,
        "more": sum(len(group["lines"]) for group in groups) >= MOST_SCORES,
        "seeds": list(runs),
        "seen": view_words(row, conditions),
        "checks": [(record.spec.seed, check) for record in records for check in record.checks],
        "params": _parameters(records),
        "command": reproduce(*records) if records else "",
        "commits": [
            (commit, repository and repository.source(commit))
            for commit in sorted({record.provenance.kdbench_commit or "" for record in sources} - {""})
        ],
        "records": records,
        "sources": sources,
        "cost": [_cost(record) for record in sources],
        "notes": [
            (run.record.spec.seed, note) for run in (*row.runs, *row.failed) for note in (*run.remarks, *run.notes)
        ],
        "no_log": [run.record.spec.seed for run in row.runs if run.log is None],
        "no_predictions": [run.record.spec.seed for run in row.runs if run.predictions is None],
    }


@dataclasses.dataclass(frozen=True)
class BoardAxis:
    """An axis as the pages of all methods show it."""

    axis: Axis
    view: Mapping[str, Any]
    by_row: Mapping[str, Sequence[float]]
    """Row's key to the scores of its seeds."""
    scale: tuple[float, float]
    """Ends of the scale that every row's seeds are drawn on."""


def board_axes(board: Board) -> list[BoardAxis]:
    """What the pages of all methods of a board share, once."""
    found = []
    for axis in board.axes:
        cells = {row.key: cell for row in board.rows if (cell := row.cells.get(axis.key))}
        by_row = {key: [score.value for _, score in cell.per_seed] for key, cell in cells.items()}
        scale = charts.bulk([value for values in by_row.values() for value in values])
        found.append(BoardAxis(axis, axis_view(board, axis), by_row, scale))
    return found


def _axis(row: Row, shared_axis: BoardAxis) -> dict[str, Any]:
    axis, scale = shared_axis.axis, shared_axis.scale
    cell = row.cells.get(axis.key)
    if cell is None:
        return {**shared_axis.view, "cell": None}
    values = [score.value for _, score in cell.per_seed]
    others = [value for key, of_row in shared_axis.by_row.items() if key != row.key for value in of_row]
    near = others if len(others) <= MOST_OTHERS else []
    return {
        **shared_axis.view,
        "scale": interval(*scale, axis.unit),
        "cell": cell,
        "sign": SIGNS[cell.mark],
        "value": number(cell.value, axis.unit, 2),
        "interval": interval(cell.ci_low, cell.ci_high, axis.unit),
        "strip": charts.seed_strip(values or [cell.value], cell.ci_low, cell.ci_high, cell.value, scale, near),
        "per_seed": [(seed, number(score.value, axis.unit, 2)) for seed, score in cell.per_seed],
    }


def _files(run: Evidence, repository: Repository | None) -> dict[str, Any]:
    """The files of one record, as they lie among the records: name and address, None where there is no link."""
    record = run.record
    beside_it = [beside(run.path, name) for name in record.hashes.evidence]
    networks = [file for name in record.hashes.students if (file := checkpoint_beside(run.path, name)).is_file()]
    return {
        "seed": record.spec.seed,
        "record": ("/".join(run.path.parts[-3:]), repository and repository.file(run.path)),
        "beside": [(file.name, repository and repository.file(file)) for file in (*beside_it, *networks)],
    }


def _condition(name: str, runs: Mapping[int, Evidence]) -> dict[str, Any]:
    """The plots of one condition's students; None where no run has what a plot needs."""
    scores = {seed: run.record.scores for seed, run in runs.items()}
    steps = {seed: lines for seed, of_seed in scores.items() if (lines := step_lines(of_seed, name))}
    diagrams = {
        seed: diagram
        for seed, run in runs.items()
        if run.predictions is not None and (diagram := reliability_of(run.predictions, name))
    }
    logs = {seed: by_name[name] for seed, run in runs.items() if run.log and name in (by_name := curves(run.log))}
    view = {
        "heat": _by_task(scores, name, corruption_maps, _heat),
        "steps": charts.step_chart(steps) if steps else None,
        "steps_setting": words(shared([line.setting for lines in steps.values() for line in lines])),
        "steps_n": min((line.n for lines in steps.values() for line in lines), default=0),
        "reliability": charts.reliability_chart(diagrams) if diagrams else None,
        "diagrams": diagrams,
        "confusion": _confusion(name, runs),
        "accuracy": _curve(logs, "test_accuracy", "test accuracy (%)", percent=True),
        "falls": [(seed, curve.test_n, fall) for seed, curve in logs.items() if (fall := curve.overfitting())],
        "loss": _curve(logs, "loss", "training loss"),
        "own": _own_curves(logs),
        "transfer": _by_task(scores, name, transfer_tables, _transfer),
    }
    return {"name": name, "any": any(value is not None and len(value) for value in view.values() if value != 0), **view}


def _curve(logs: Mapping[int, Any], name: str, title: str, *, percent: bool = False) -> Any:
    known = any(name in curve.series for curve in logs.values())
    return charts.curve_chart(logs, name, title, percent=percent) if known else None


def _own_curves(logs: Mapping[int, Any]) -> list[tuple[str, Any]]:
    names = list(dict.fromkeys(name for curve in logs.values() for name in curve.own))[:MOST_CURVES]
    return [(name, _curve(logs, name, name.replace("_", " "))) for name in names]


def _by_task(
    scores: Mapping[int, Iterable[Score]],
    condition: str,
    read: Callable[[Iterable[Score], str], Mapping[str, Found]],
    view: Callable[[Sequence[Found]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """One view per task, of what each seed has of it."""
    found: dict[str, list[Found]] = {}
    for of_seed in scores.values():
        for task, one in read(of_seed, condition).items():
            found.setdefault(task, []).append(one)
    return [{"task": task, **view(same)} for task, same in found.items()]


def _heat(maps: Sequence[HeatMap]) -> dict[str, Any]:
    """Corruptions by severities: accuracy in percent, mean over seeds, with the class of its colour."""
    maps = [heat for heat in maps if (heat.corruptions, heat.severities) == (maps[0].corruptions, maps[0].severities)]
    values = np.mean([heat.value for heat in maps], axis=0)
    rows = [
        {"name": name.replace("_", " "), "cells": [_shade(value) for value in line], "mean": _shade(line.mean())}
        for name, line in zip(maps[0].corruptions, values, strict=True)
    ]
    return {"severities": maps[0].severities, "rows": rows, "n": maps[0].n, "seeds": len(maps)}


def _confusion(condition: str, runs: Mapping[int, Evidence]) -> dict[str, Any] | None:
    """Classes by what they were taken for, all seeds together, in percent of a class's images; None where unknown."""
    found = [one for run in runs.values() if run.predictions and (one := confusion_of(run.predictions, condition))]
    whole = pooled(found)
    if whole is None:
        return None
    shares, size = whole.shares(), len(whole.counts)
    classes = installed_classes(next(iter(runs.values())).record.spec.suite.dataset, size)
    table = [
        (classes[true], [(f"{100 * share:.0f}" if share >= 0.005 else "", _shade(share)[1]) for share in line])
        for true, line in enumerate(shares)
    ]
    worst = [true for true in np.argsort(shares.diagonal(), kind="stable") if whole.of_class[true]]
    return {
        "seeds": len(found),
        "n": whole.n // len(found),
        "columns": classes if size <= MOST_COLUMNS else (),
        "rows": table if size <= MOST_COLUMNS else [],
        "worst": [(classes[true], _shade(shares[true, true])[0]) for true in worst[:MOST_MISTAKES]],
        "mistakes": [
            (classes[true], classes[answer], count, _shade(shares[true, answer])[0])
            for true, answer, count in whole.mistakes(MOST_MISTAKES)
        ],
    }


def _shade(value: float) -> tuple[str, str]:
    return (f"{100 * value:.1f}", f"h{min(9, int(10 * value))}") if math.isfinite(value) else ("", "")


def _transfer(tables: Sequence[TransferTable]) -> dict[str, Any]:
    """Source networks by accuracy over all images and over those that are right without an attack."""
    lines: dict[str, dict[str, list[Score]]] = {}
    for table in tables:
        for source, every, right in zip(table.sources, table.accuracy, table.conditional, strict=True):
            line = lines.setdefault(source, {"all": [], "right": []})
            line["all"].append(every)
            line["right"] += [right] if right else []
    return {
        "sources": list(lines),
        "setting": words(shared([score.setting for table in tables for score in table.accuracy])),
        "rows": [(source, _mean_of(line["all"]), _mean_of(line["right"])) for source, line in lines.items()],
        "n": min(score.n for table in tables for score in table.accuracy),
    }


def _mean_of(scores: list[Score]) -> tuple[str, str, str] | None:
    """Mean, what is known of its spread, and the class of its colour."""
    if not scores:
        return None
    values = [score.value for score in scores]
    mean = sum(values) / len(values)
    spread = (
        f"seeds {', '.join(number(value) for value in values)}"
        if len(values) > 1
        else interval(scores[0].ci_low, scores[0].ci_high)
    )
    return (number(mean), spread, f"h{min(9, max(0, int(10 * mean)))}")


def _score_groups(runs: Sequence[Evidence]) -> list[dict[str, Any]]:
    """All scores by condition and task; a line is one metric at one setting, its cells the seeds. What all of a group
    have alike in their settings stands at its head."""
    groups: dict[tuple[str, str], dict[tuple[str, str], dict[int, Any]]] = {}
    known = _known(runs)
    room = MOST_SCORES
    for run in runs:
        record = run.record
        for score in record.scores:
            lines = groups.setdefault((score.condition, score.task), {})
            alike = known[score.condition, score.task]
            key = (score.metric, words({name: value for name, value in score.setting.items() if name not in alike}))
            if key not in lines:
                if not room:
                    continue
                room -= 1
            lines.setdefault(key, {})[record.spec.seed] = (
                number(score.value, score.unit, 2),
                interval(score.ci_low, score.ci_high, score.unit),
                score.n,
                "%" if score.unit == "fraction" else score.unit,
                bool(record.flags(score)),
            )
    return [
        {
            "condition": condition,
            "task": task,
            "known": words(known[condition, task]),
            "lines": [(*key, cells) for key, cells in lines.items()],
        }
        for (condition, task), lines in groups.items()
        if lines
    ]


def _known(runs: Iterable[Evidence]) -> dict[tuple[str, str], dict[str, Any]]:
    """What all scores of a condition and task have alike in their settings, where they are several."""
    settings: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        for score in run.record.scores:
            settings.setdefault((score.condition, score.task), []).append(score.setting)
    return {place: shared(same) for place, same in settings.items()}


def _parameters(records: list[Record]) -> list[tuple[str, str, list[str]]]:
    """Parameter, how it came about, and its value under each condition of the first record."""
    if not records:
        return []
    spec, passed = records[0].spec, records[0].params_passed
    names = dict.fromkeys(name for params in spec.params.values() for name in params)
    return [
        (
            name,
            "given" if name in passed else "default",
            [
                json.dumps(params[name], ensure_ascii=False) if name in params else "–"  # noqa: RUF001  # a dash is meant
                for params in spec.params.values()
            ],
        )
        for name in names
    ]


def _cost(record: Record) -> dict[str, Any]:
    facts = record.provenance
    phases = {
        name: sum(s for phase, s in facts.seconds.items() if phase.startswith(name)) for name in ("train", "eval")
    }
    students = sum(network.seconds for network in record.hashes.students.values())
    return {
        "seed": record.spec.seed,
        "students": f"{students / 60:.1f}",
        "train": f"{phases['train'] / 60:.1f}",
        "measure": f"{phases['eval'] / 60:.1f}",
        "cpu": f"{facts.cpu_seconds / 60:.1f}",
        "memory": f"{facts.peak_memory_bytes / 2**30:.1f}",
        "device_memory": f"{facts.peak_device_memory_bytes / 2**30:.1f}" if facts.peak_device_memory_bytes else "",
        "machine": f"{facts.device_name}, {facts.threads} threads",
    }
