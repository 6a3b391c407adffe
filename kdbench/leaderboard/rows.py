"""The rows of a leaderboard: a method's runs with its cells, and the mean rank that orders them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from kdbench.leaderboard.board import Axis, Cell, Row
from kdbench.leaderboard.installed import installed_method
from kdbench.leaderboard.keys import file_key
from kdbench.leaderboard.method_runs import MethodRuns
from kdbench.leaderboard.placing import family_ranks, weighted
from kdbench.leaderboard.standing import standing
from kdbench.methods.method import MethodSpec
from kdbench.results.headline import RANKED_SEEDS


def make_row(runs: MethodRuns, cells: Mapping[str, Cell | None], axes: Sequence[Axis]) -> Row:
    """The row that is shown.

    Args:
        runs: of the method.
        cells: key of every axis of the board to the method's cell, None where it was not measured.
        axes: of the board.
    """
    elsewhere = any(run.record.evaluated is not None for run in (*runs.finished, *runs.failed))
    spec = None if elsewhere else installed_method(runs.method)
    return Row(
        key=file_key(runs.method, runs.params),
        title=runs.title,
        method=runs.method,
        params=runs.params,
        family=_family(spec),
        paper=spec.paper if spec is not None else "",
        summary=spec.summary if spec is not None else "",
        budget="extended" if any(r.record.budget == "extended" for r in (*runs.finished, *runs.failed)) else "standard",
        runs=runs.finished,
        failed=runs.failed,
        cells={axis: cell for axis, cell in cells.items() if cell is not None},
        mean_rank=_mean_rank(runs, cells, axes),
        standing=standing([record for run in (*runs.finished, *runs.failed) for record in run.sources]),
        views={name: view for r in (*runs.failed, *runs.finished) for name, view in r.record.views.items()},
    )


def row_order(row: Row) -> tuple[bool, float, str, str]:
    """Sorts rows by mean rank; those without one come last, by name."""
    return row.mean_rank is None, row.mean_rank or 0.0, row.method.casefold(), row.title


def unequal_views(rows: Iterable[Row]) -> tuple[str, ...]:
    """The conditions under which rows are known to have seen different views."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for condition, view in row.views.items():
            seen.setdefault(condition, set()).add(view)
    return tuple(condition for condition, views in seen.items() if len(views) > 1)


def view_words(row: Row, conditions: Collection[str]) -> str:
    """What a row saw under some conditions, in short; "" where that is not recorded.

    One view for all is named alone: "strong"; else each with its conditions: "crop-flip (clean), none (sym-40)".
    """
    by_view: dict[str, list[str]] = {}
    for condition in conditions:
        if condition in row.views:
            by_view.setdefault(row.views[condition], []).append(condition)
    if len(by_view) == 1:
        return next(iter(by_view))
    return ", ".join(f"{view} ({', '.join(names)})" for view, names in by_view.items())


def _mean_rank(runs: MethodRuns, cells: Mapping[str, Cell | None], axes: Sequence[Axis]) -> float | None:
    """Only of a method with enough seeds that was measured with every seed on every axis that counts and has no failed
    run; never of a model that was not trained here."""
    if any(run.record.evaluated is not None for run in runs.finished):
        return None
    counted = [axis.key for axis in axes if axis.counts]
    measured = {key: cell for key in counted if (cell := cells.get(key)) is not None}
    whole = [cell for cell in measured.values() if len(cell.per_seed) == len(runs.finished)]
    if runs.failed or len(runs.finished) < RANKED_SEEDS or not counted or len(whole) < len(counted):
        return None
    means = [mean for mean, _, _ in family_ranks(axes, measured).values()]
    return weighted(means, [1.0] * len(means))


def _family(spec: MethodSpec | None) -> str:
    """The package that brings a method, without the project's name."""
    if spec is None:
        return ""
    module = getattr(spec.target, "func", spec.target).__module__
    return str(module).partition(".")[0].removeprefix("kdbench_").replace("_", " ")
