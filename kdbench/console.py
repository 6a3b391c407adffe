"""How results look on a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from kdbench.records import Record, Score

HEADLINE = 6
"""A task with more scores than this shows those that its rules below pick."""


def headline(scores: Sequence[Score]) -> list[Score]:
    """The scores to show of one task and condition: all of them, or, of many, the metrics that have few scores."""
    if len(scores) <= HEADLINE:
        return list(scores)
    counts: dict[tuple[str, Any], int] = {}
    for score in scores:
        key = (score.metric, score.setting.get("rule"))
        counts[key] = counts.get(key, 0) + 1
    worst = [score for score in scores if score.setting.get("rule") == "worst"]
    if worst:
        return [score for score in worst if score.metric == worst[0].metric]
    return [score for score in scores if counts[score.metric, score.setting.get("rule")] <= HEADLINE]


def describe_setting(setting: Mapping[str, Any]) -> str:
    """``variant=pgd-std steps=10``."""
    return " ".join(f"{key}={value}" for key, value in setting.items())


def percent(score: Score) -> tuple[str, str]:
    """A score and its interval, as text; fractions in percent."""
    if score.unit == "fraction":
        return f"{100 * score.value:.2f} %", f"{100 * score.ci_low:.2f} - {100 * score.ci_high:.2f}"
    return f"{score.value:.4g} {score.unit}", f"{score.ci_low:.4g} - {score.ci_high:.4g}"


def score_table(scores: Iterable[Score], title: str) -> Table:
    """One seed's headline scores with intervals and n."""
    table = Table(title=escape(title), title_justify="left")
    for column in ("condition", "task", "metric", "setting"):
        table.add_column(column)
    for column in ("value", "95 % interval", "n"):
        table.add_column(column, justify="right")
    for (condition, task), group in _grouped(scores).items():
        for score in headline(group):
            value, interval = percent(score)
            arrow = "" if score.higher_is_better else " (lower is better)"
            row = (
                condition,
                task,
                score.metric + arrow,
                describe_setting(score.setting),
                value,
                interval,
                str(score.n),
            )
            table.add_row(*map(escape, row))
        table.add_section()
    return table


def seeds_table(records: Sequence[Record], title: str) -> Table:
    """Mean and standard deviation over seeds."""
    table = Table(title=escape(title), title_justify="left")
    for column in ("condition", "task", "metric", "setting"):
        table.add_column(column)
    table.add_column(f"mean of {len(records)} seeds", justify="right")
    table.add_column("sd over seeds", justify="right")
    by_key = [
        {(score.condition, score.task, score.metric, describe_setting(score.setting)): score for score in record.scores}
        for record in records
    ]
    for (condition, task), group in _grouped(records[0].scores).items():
        for score in headline(group):
            key = (condition, task, score.metric, describe_setting(score.setting))
            values = [scores[key].value for scores in by_key if key in scores]
            spread = f"{100 * statistics.stdev(values):.2f}" if len(values) > 1 else "-"
            table.add_row(*map(escape, key), f"{100 * statistics.mean(values):.2f} %", spread)
        table.add_section()
    return table


def _grouped(scores: Iterable[Score]) -> dict[tuple[str, str], list[Score]]:
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.condition, score.task), []).append(score)
    return groups


def listing(rows: Iterable[Sequence[str]], columns: Sequence[str]) -> Table:
    """A plain table of text."""
    table = Table(*columns, show_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def output() -> Console:
    """Standard output; wide enough not to cut tables when it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=150)
