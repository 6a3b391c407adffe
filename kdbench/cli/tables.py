"""How results look on a terminal."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import Box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdbench.cli.listing import NARROW
from kdbench.results.headline import HeadlineOf, headline_of, said_once, shown
from kdbench.results.wording import flagged, name, percent, words

if TYPE_CHECKING:
    from kdbench.results.record import Check, Record, Score
    from kdbench.specs import Suite

RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""A rule of hyphens under the heads, nothing else: the same on a terminal, in a file and through a pipe."""


def score_tables(
    scores: Iterable[Score],
    checks: Sequence[Check],
    title: str,
    suite: Suite,
    views: Mapping[str, str] | None = None,
    headlines: HeadlineOf = headline_of,
) -> list[Table]:
    """One seed's headline scores with intervals and n, one table per condition, with the view that was trained on."""
    tables = []
    for condition, own in _by_condition(shown(scores, suite, headlines)).items():
        seen = f", view {views[condition]}" if views and condition in views else ""
        table = _table(f"{title}, condition {condition}{seen}", "measured", "value", "95 % interval", "n")
        for known, score in _said_once(table, own, suite, headlines):
            table.add_row(escape(flagged(score, checks, known)), *percent(score), str(score.n))
        tables.append(table)
    return tables


def seeds_tables(records: Sequence[Record], title: str, headlines: HeadlineOf = headline_of) -> list[Table]:
    """Mean and standard deviation over seeds, one table per condition."""
    by_name = [{(score.condition, name(score)): score.value for score in record.scores} for record in records]
    checks = [check for record in records for check in record.checks]
    tables = []
    suite = records[0].spec.suite
    for condition, own in _by_condition(shown(records[0].scores, suite, headlines)).items():
        columns = ("measured", f"mean of {len(records)} seeds", "sd over seeds")
        table = _table(f"{title}, condition {condition}", *columns)
        for known, score in _said_once(table, own, suite, headlines):
            values = [scores[condition, name(score)] for scores in by_name if (condition, name(score)) in scores]
            scale, unit = (100, "%") if score.unit == "fraction" else (1, score.unit)
            spread = f"{scale * statistics.stdev(values):.2f}" if len(values) > 1 else "-"
            table.add_row(
                escape(flagged(score, checks, known)), f"{scale * statistics.mean(values):.2f} {unit}", spread
            )
        tables.append(table)
    return tables


def _said_once(
    table: Table, scores: Iterable[Score], suite: Suite, headlines: HeadlineOf
) -> Iterator[tuple[dict[str, Any], Score]]:
    """Each score, and what need not be said of its setting, as a row above the task's scores says it for all."""
    for task, own in itertools.groupby(scores, lambda score: score.task):
        same = list(own)
        known = said_once(same, suite, headlines)
        if known:
            table.add_row(escape(f"{task}: {words(known)}"))
        yield from ((known, score) for score in same)


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=RULED, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _by_condition(scores: Iterable[Score]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(score.condition, []).append(score)
    return groups


def numbers(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of numbers in words: the first column is text."""
    table = _table(title, columns[0], *columns[1:])
    for row in rows:
        table.add_row(*map(escape, row))
    return table


class _Paper(Console):
    """A file or a pipe: text of ``NARROW`` columns, and as wide as a table is where words of it would be cut."""

    def __init__(self) -> None:
        super().__init__(width=1000, no_color=True)

    def print(self, *objects: Any, **options: Any) -> None:
        text = self._drawn(*objects, **{"width": NARROW, **options})
        if "…" in text:
            wide = self._drawn(*objects, **options)
            text = min(text, wide, key=lambda one: one.count("…"))
        self.file.write(text)

    def _drawn(self, *objects: Any, **options: Any) -> str:
        with self.capture() as printed:
            super().print(*objects, **options)
        return printed.get()


def output() -> Console:
    """Standard output: as wide as the terminal; of few columns and without colours where there is none."""
    console = Console()
    return console if console.is_terminal else _Paper()
