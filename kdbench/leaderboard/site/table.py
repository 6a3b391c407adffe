"""What a suite's page shows: the table, cell by cell, and the same numbers for its scripts."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kdbench.leaderboard.board import Axis, Board, Cell, Mark, Row
from kdbench.leaderboard.marks import NEAR
from kdbench.leaderboard.placing import families
from kdbench.leaderboard.site.shades import shades
from kdbench.leaderboard.site.text import in_css, number, plain, shorten, web_address
from kdbench.results.wording import counted, words

SIGNS: Final[Mapping[Mark, str]] = {"best": "★", "near": "☆", "unknown": "○", "": ""}
FIRST_LABEL: Final = 3
"""Cell of a row that has the place, after choice and method."""


def board_view(board: Board) -> dict[str, Any]:
    """What the template of a suite's page asks for."""
    shaded = {axis.key: shades(board, axis) for axis in board.axes}
    groups = [(family, list(own)) for family, own in itertools.groupby(board.axes, key=lambda axis: axis.family)]
    return {
        "axes": [
            {**axis_view(board, axis), "group": group, "more": place > 0}
            for group, (_, own) in enumerate(groups)
            for place, axis in enumerate(own)
        ],
        "groups": [(shorten(family, 32), len(own)) for family, own in groups],
        "rows": [
            _row_view(board, row, {axis: shade[place] for axis, shade in shaded.items()})
            for place, row in enumerate(board.rows)
        ],
        "families": sorted({row.family for row in board.rows if row.family}),
        "hardware": hardware(board),
        "seeds": seeds(board),
        "near": f"{100 * NEAR:g} point",
    }


def axis_view(board: Board, axis: Axis) -> dict[str, Any]:
    """A column's heading and its description."""
    cells = [cell for row in board.rows if (cell := row.cells.get(axis.key))]
    sizes = sorted({cell.n for cell in cells})
    return {
        "key": axis.key,
        "title": shorten(axis.title, 24),
        "unit": "%" if axis.unit == "fraction" else shorten(axis.unit, 12),
        "better": "higher" if axis.higher_is_better else "lower",
        "what": f"{axis.metric.replace('_', ' ')} of task {axis.task}, condition {axis.condition}",
        "setting": words(axis.setting),
        "undecided": _undecided(cells),
        "counts": axis.counts,
        "caution": axis.caution,
        "n": " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else "",
    }


def _undecided(cells: Sequence[Cell]) -> str:
    """Why a column has no best, "" where it has one or nobody was measured."""
    if not cells or any(cell.mark == "best" for cell in cells):
        return ""
    tested = sum(not cell.one_seed for cell in cells)
    return "no significant difference" if tested > 1 else "not tested"


def _row_view(board: Board, row: Row, shaded: Mapping[str, int | None]) -> dict[str, Any]:
    cells = []
    for axis in board.axes:
        cell = row.cells.get(axis.key)
        cells.append(None if cell is None else _cell_view(cell, axis, shaded[axis.key]))
    return {
        "key": row.key,
        "title": shorten(row.title),
        "family": shorten(row.family, 32),
        "evaluated": row.evaluated is not None,
        "seeds": len(row.runs),
        "cost": _cost(row),
        "paper": web_address(row.paper),
        "rank": None if row.mean_rank is None else f"{row.mean_rank:.2f}",
        "unranked": row.unranked,
        "cells": cells,
    }


def _cost(row: Row) -> str:
    """How long a student trained, on average, and the most memory that a run took; "" of what was not trained here."""
    memory = row.peak_device_memory_gib or row.peak_memory_gib
    return "" if row.training_minutes is None else f"{row.training_minutes:.2g} min, {memory:.2g} GiB"


def _cell_view(cell: Cell, axis: Axis, shade: int | None) -> dict[str, Any]:
    return {
        "value": number(cell.value, axis.unit),
        "half": ("(±{})" if cell.one_seed else "±{}").format(number((cell.ci_high - cell.ci_low) / 2, axis.unit)),
        "kind": "doubt" if cell.flags else cell.mark or ("" if shade is None else f"d{shade}"),
        "sign": SIGNS[cell.mark],
        "flags": cell.flags,
    }


def _basis(cell: Cell) -> str:
    """What the interval is over, with the number of seeds."""
    count = counted(len(cell.per_seed), "seed")
    return cell.basis.replace("seeds", count) if "seeds" in cell.basis else f"{cell.basis} of {count}"


def hardware(board: Board) -> list[str]:
    """Machines that measured, each with its software."""
    facts = [evidence.record.provenance for row in board.rows for evidence in row.records]
    machines = {(fact.device_name, fact.device, counted(fact.threads, "thread"), fact.torch) for fact in facts}
    return [f"{name} ({device}, {threads}, torch {torch})" for name, device, threads, torch in sorted(machines)]


def seeds(board: Board) -> str:
    """How many seeds a method has, in words."""
    counts = sorted({len(row.runs) for row in board.rows if row.runs})
    if not counts:
        return "no finished runs"
    many = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{many} seed{'s' if counts[-1] > 1 else ''} per method"


def label_style(view: Mapping[str, Any]) -> str:
    """What names the cells of a card, which has no heading: a rule for each column of ``board_view``."""
    titles = ["Place", *(axis["title"] for axis in view["axes"])]
    rules = (
        f".board td:nth-child({place})::before{{content:{in_css(plain(title))}}}"
        for place, title in enumerate(titles, FIRST_LABEL)
    )
    return f"@media (max-width: 700px) {{{''.join(rules)}}}"


def table_data(board: Board) -> dict[str, Any]:
    """The numbers for sorting, filtering and drawing: a row is [key, title, family, mean rank, cells]."""
    return {
        "axes": [
            [axis.key, shorten(axis.title, 24), axis.unit, int(axis.higher_is_better)] for axis in board.axes
        ],
        "robust": _robust_axis(board),
        "sorted": _sorted_axis(board),
        "reference": board.reference,
        "signs": SIGNS,
        "rows": [
            [
                row.key,
                shorten(row.title),
                shorten(row.family, 32),
                row.mean_rank,
                [_numbers(row.cells.get(axis.key)) for axis in board.axes],
            ]
            for row in board.rows
        ],
    }  # fmt: skip


def _robust_axis(board: Board) -> int:
    """What a scatter has against the first axis to begin with: accuracy under attack, or under corruptions where no
    two methods differ under attack, else the next axis."""
    robust = [
        number
        for metric in ("robust_accuracy", "mca")
        for number, axis in enumerate(board.axes)
        if axis.metric == metric
    ]
    return _first_decided(board, robust, next(iter(_measured(board, range(1, len(board.axes)))), 0))


def _sorted_axis(board: Board) -> int:
    """What is drawn as a list beside that scatter to begin with: the first axis of a family that the scatter does not
    show, of families whose first axis tells methods apart if there are any."""
    shown = {board.axes[number].family for number in (0, _robust_axis(board))} if board.axes else set()
    others = [board.axes.index(own[0]) for name, own in families(board.axes).items() if name not in shown]
    return _first_decided(board, others, 0)


def _first_decided(board: Board, numbers: Sequence[int], otherwise: int) -> int:
    """The first of these axes that has a best, else the first of them that somebody was measured on."""
    best = {axis for row in board.rows for axis, cell in row.cells.items() if cell.mark == "best"}
    measured = _measured(board, numbers)
    return next((number for number in measured if board.axes[number].key in best), next(iter(measured), otherwise))


def _measured(board: Board, numbers: Sequence[int]) -> list[int]:
    """Those of these axes on which a row has a score."""
    keys = {axis for row in board.rows for axis in row.cells}
    return [number for number in numbers if board.axes[number].key in keys]


def said_data(board: Board) -> dict[str, Any]:
    """What is said of each score beside its interval: by axis what most cells say of basis and n, and their ranks; by
    row and axis the ranks where that is all, else [basis and n, ranks, flags], None for no score."""
    facts = [
        [_facts(row.cells[axis.key]) if axis.key in row.cells else None for axis in board.axes] for row in board.rows
    ]
    usual = [_most_common([cell[0] for cell in column if cell]) for column in zip(*facts, strict=True)]
    said = [
        [cell and (cell[1] if cell == [common, cell[1], ""] else cell) for common, cell in zip(usual, row, strict=True)]
        for row in facts
    ]
    return {"usual": usual, "said": said}


def _facts(cell: Cell) -> list[str]:
    ranks = "-".join(str(rank) for rank in dict.fromkeys((cell.rank, cell.last_rank)))
    return [f"over {_basis(cell)}; n {cell.n:,}", ranks, shorten("; ".join(cell.flags), 300)]


def _most_common(texts: Sequence[str]) -> str:
    return Counter(texts).most_common(1)[0][0] if texts else ""


def _numbers(cell: Cell | None) -> list[float | int | str] | None:
    """Value, ends of the interval, whether it is flagged, whether it is of one seed, and its mark, without what is 0 or
    empty at the end: to six digits, more than any interval is worth."""
    if cell is None:
        return None
    values = (cell.value, cell.ci_low, cell.ci_high)
    if not all(math.isfinite(value) for value in values):
        return None
    shown = (float(f"{value:.6g}") for value in values)
    found: list[float | int | str] = [*shown, int(bool(cell.flags)), int(cell.one_seed), cell.mark]
    while len(found) > len(values) and not found[-1]:
        found.pop()
    return found
