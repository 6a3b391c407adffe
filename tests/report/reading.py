"""What a test reads of a report: the plots and gaps that a part yields, rows by column, and runs with chosen files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.metrics import wilson_interval
from kdbench.report.parts import Missing, Part, Plot
from kdbench.report.runs import Run, open_runs
from kdbench.report.style import styled
from kdbench.results.record import Score
from tests.leaderboard.evidence import Made, evidence_files


def plots_and_gaps(make: Callable[[], Iterator[Part]]) -> tuple[list[Plot], list[Missing]]:
    """The plots that a part yields, undrawn, and what it could not make."""
    with styled():
        parts = list(make())
    return [one for one in parts if isinstance(one, Plot)], [one for one in parts if isinstance(one, Missing)]


def only_plot(make: Callable[[], Iterator[Part]]) -> Plot:
    """The one plot of a part that misses nothing."""
    [plot], gaps = plots_and_gaps(make)
    assert not gaps
    return plot


def rows(plot: Plot, **where: Any) -> list[dict[str, Any]]:
    """Rows of the plot's table by column, those that have the given values."""
    found = [dict(zip(plot.table.columns, row, strict=True)) for row in plot.table.rows]
    return [row for row in found if all(row[key] == value for key, value in where.items())]


def column(plot: Plot, name: str, **where: Any) -> list[Any]:
    """One column of ``rows``."""
    return [row[name] for row in rows(plot, **where)]


def score(value: float, n: int = 200, task: str = "clean", metric: str = "accuracy", **rest: Any) -> Score:
    """A share with its Wilson interval; ``setting`` and the like are the score's."""
    low, high = wilson_interval(value * n, n)
    fields = {"condition": "clean", "value": value, "n": n, "ci_low": low, "ci_high": high} | rest
    return Score(task=task, metric=metric, **fields)


def with_files(
    made: Made,
    *,
    predictions: Mapping[str, Any] | None = None,
    log: Sequence[Mapping[str, Any]] | None = None,
    softmax: Mapping[str, Mapping[str, Any]] | None = None,
) -> Made:
    """The same run with other files beside its record, which has their hashes."""
    given = {"predictions": predictions, "log": log, "softmax": softmax}
    made = dataclasses.replace(made, **{name: value for name, value in given.items() if value is not None})
    files = evidence_files(made.predictions, made.log, made.softmax)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return made.changed(hashes=made.record.hashes.model_copy(update={"evidence": hashes}))


def opened(folder: Path, *made: Made) -> list[Run]:
    """The runs as a report opens them, from their folders."""
    return open_runs([one.keep(folder) for one in made])
