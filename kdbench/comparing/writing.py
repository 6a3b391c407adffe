"""What was compared as text for a terminal and LaTeX, and as numbers for CSV and JSON."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.comparing.plan import Needed
from kdbench.comparing.table import Row
from kdbench.leaderboard.board import Axis
from kdbench.results.comparison import LEVEL
from kdbench.results.wording import FLAG, words

DOWN = "\N{DOWNWARDS ARROW}"
"""Stands beside what is better lower."""
SYMBOLS = {
    "\N{MINUS SIGN}": "$-$", "ε": r"$\varepsilon$", DOWN: r"$\downarrow$", "\N{EN DASH}": "--", "<": "$<$",
}  # fmt: skip
"""Characters that LaTeX does not set as they are, to what it does."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A table to be read."""

    columns: tuple[str, ...]
    """The first is of words, the others of numbers."""
    rows: tuple[tuple[str, ...], ...]

    def to_latex(self, caption: str) -> str:
        """A ``table`` with rules of booktabs."""
        import pandas  # takes a second

        frame = pandas.DataFrame(self.rows, columns=list(self.columns))
        text = str(
            frame.to_latex(
                index=False, escape=True, position="tb", caption=_escaped(caption), label="tab:comparison",
                column_format="l" + "r" * (len(self.columns) - 1),
            )
        )  # fmt: skip
        for character, command in SYMBOLS.items():
            text = text.replace(character, command)
        return f"% needs \\usepackage{{booktabs}}\n{text}"


def _escaped(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def differences_text(rows: Sequence[Row]) -> Text:
    """The differences, in percentage points where scores are fractions. A star stands for a significant one."""
    several = len({row.other for row in rows}) > 1
    counted = any(len(row.discordant) > 1 for row in rows)
    lines = []
    for row in rows:
        flagged = f" {FLAG}" if row.flags else ""
        names = (title(row.axis) + flagged, *([row.other] if several else []))
        numbers = (number(row.axis, row.value_first), number(row.axis, row.value_other))
        apart = number(row.axis, row.difference, signed=True) + "*" * bool(row.better)
        tested = (p_value(row.p_value), p_value(row.p_holm), *([_by_seed(row)] if counted else []))
        lines.append((*names, *numbers, apart, interval(row), *tested, seeds(row), f"{row.n:,}"))
    head = ("score", *(["other"] if several else []), rows[0].first, "its score" if several else rows[0].other)
    tests = ("p", "p, Holm", *(["McNemar <.05"] if counted else []))
    return Text((*head, "better by", "95 % interval", *tests, "seeds", "images"), tuple(lines))


def _by_seed(row: Row) -> str:
    """In how many seeds the two networks differ by McNemar's test, uncorrected."""
    found = sum(one.p_value < LEVEL for one in row.discordant)
    return f"{found} of {len(row.discordant)}" if row.discordant else ""


def title(axis: Axis) -> str:
    """A score's heading, with its unit where it is not percent."""
    unit = "" if axis.unit == "fraction" else f" ({axis.unit})"
    return f"{axis.title}{unit}{'' if axis.higher_is_better else f' {DOWN}'}"


def number(axis: Axis, value: float, *, signed: bool = False) -> str:
    """A score or a difference: of fractions in percent or points."""
    text = f"{100 * value:+.2f}" if axis.unit == "fraction" else f"{value:+.4g}"
    return text.replace("-", "\N{MINUS SIGN}") if signed else text.lstrip("+").replace("-", "\N{MINUS SIGN}")


def interval(row: Row) -> str:
    """That of the difference."""
    return " to ".join(number(row.axis, end, signed=True) for end in (row.ci_low, row.ci_high))


def p_value(value: float | None) -> str:
    """With two significant digits.

    >>> p_value(0.0312), p_value(1e-9), p_value(None)
    ('.031', '<.0001', '\N{EN DASH}')
    """
    if value is None:
        return "\N{EN DASH}"
    if value < 0.0001:
        return "<.0001"
    return "1" if value > 0.995 else f"{value:.2f}".lstrip("0") if value > 0.1 else f"{value:.2g}".lstrip("0")


def seeds(row: Row) -> str:
    """How many, and of each where they are not paired."""
    ours, theirs = len(row.seeds_first), len(row.seeds_other)
    return str(ours) if row.by_seed else f"{ours} and {theirs}"


def differences_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same as plain values, fractions as they are."""
    return [
        {
            **_axis(row.axis),
            **{field: getattr(row, field) for field in (
                "first", "other", "value_first", "value_other", "difference", "ci_low", "ci_high", "test", "p_value",
                "p_holm", "better", "n", "paired", "by_seed",
            )},
            **{field: list(getattr(row, field)) for field in ("seeds_first", "seeds_other", "flags")},
            **{field: [getattr(one, name) for one in row.discordant] for field, name in (
                ("gained", "gained"), ("lost", "lost"), ("mcnemar_p", "p_value"),
            )},
        }
        for row in rows
    ]  # fmt: skip


def needed_text(rows: Sequence[Needed]) -> Text:
    """How many seeds it takes, with the range that the spread's own uncertainty leaves."""
    several = len({row.other for row in rows}) > 1
    lines = []
    for row in rows:
        low, high = (number(row.axis, end) for end in row.spread.sd_interval)
        lines.append((
            title(row.axis), *([row.other] if several else []), number(row.axis, row.difference, signed=True),
            str(row.have), f"{number(row.axis, row.spread.sd)} ({low} to {high})",
            f"{count(row.fixed)} ({count(row.fixed_range[0])} to {count(row.fixed_range[1])})",
            f"{count(row.needed)} ({count(row.needed_range[0])} to {count(row.needed_range[1])})",
            "none" if row.more == 0 else count(row.more),
        ))  # fmt: skip
    head = ("score", *(["other"] if several else []), "better by so far", "seeds", "sd over seeds (95 %)")
    return Text((*head, "needed, these images", "needed, any images", "more"), tuple(lines))


def count(value: int | None) -> str:
    """A number of seeds; None is more than are looked for."""
    return "never" if value is None else f"{value:,}"


def needed_data(rows: Sequence[Needed]) -> list[dict[str, Any]]:
    """The same as plain values; None for a number of seeds where none suffices."""
    return [
        {
            **_axis(row.axis),
            "first": row.first,
            "other": row.other,
            "difference_so_far": row.difference,
            "resolves": row.wanted,
            "seeds": row.have,
            "paired": row.by_seed,
            "sd": row.spread.sd,
            **dict(zip(("sd_low", "sd_high"), row.spread.sd_interval, strict=True)),
            "needed_same_images": row.fixed,
            **dict(zip(("needed_same_images_low", "needed_same_images_high"), row.fixed_range, strict=True)),
            "needed": row.needed,
            **dict(zip(("needed_low", "needed_high"), row.needed_range, strict=True)),
            "more": row.more,
            "least_difference": row.least,
        }
        for row in rows
    ]


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "score": axis.title, "condition": axis.condition, "task": axis.task, "metric": axis.metric,
        "setting": dict(axis.setting), "unit": axis.unit, "higher_is_better": axis.higher_is_better,
    }  # fmt: skip


def to_csv(data: Sequence[Mapping[str, Any]]) -> str:
    """Rows with one header line; a list has blanks between its values."""
    from kdbench.report.parts import Table

    rows = [tuple(_cell(value) for value in row.values()) for row in data]
    return Table(tuple(data[0]), tuple(rows)).to_csv()


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return words(value) if value else ""
    return " ".join(map(str, value)) if isinstance(value, list) else value
