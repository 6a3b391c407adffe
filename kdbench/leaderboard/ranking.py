"""Records to boards, one per suite.

records -> those on genuine data -> groups that can be compared -> methods with their runs
        -> measurements, one per method and axis -> ranked cells -> rows -> boards
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from kdbench.leaderboard.axes import columns
from kdbench.leaderboard.board import Board, Boards
from kdbench.leaderboard.cells import measure
from kdbench.leaderboard.genuine import split_genuine
from kdbench.leaderboard.grouping import Group, group, other_versions
from kdbench.leaderboard.keys import file_key
from kdbench.leaderboard.notes import notes
from kdbench.leaderboard.ranks import rank_axis
from kdbench.leaderboard.rows import make_row, row_order
from kdbench.methods.context import Network
from kdbench.results.evidence import Evidence, Excluded, require_evidence
from kdbench.results.store import read_records
from kdbench.specs import Suite


def rank(folder: Path | str) -> Boards:
    """Read a folder of records and rank every suite in it."""
    return make_boards(*read_records(folder))


def make_boards(runs: Sequence[Evidence], excluded: Sequence[Excluded] = ()) -> Boards:
    """The same from what is read already; files excluded go to the board of the suite that they name.

    Raises:
        KdbenchError: something among ``runs`` is no ``Evidence``.
    """
    require_evidence("make_boards", runs)
    genuine, foreign = split_genuine(runs)
    excluded = (*excluded, *foreign)
    groups = group(genuine)
    suites = {one.suite.label for one in groups}
    boards = tuple(
        dataclasses.replace(
            _board(one, [file for file in excluded if file.suite == one.suite.label]),
            others=tuple(_board(other, []) for other in other_versions(genuine, one)),
        )
        for one in groups
    )
    return Boards(boards, tuple(file for file in excluded if file.suite not in suites))


def _board(group: Group, excluded: Sequence[Excluded]) -> Board:
    axes = columns(group.suite, [run for method in group.methods for run in method.finished])
    measured = [measure(axes, method.finished, method.failed) for method in group.methods]
    ranked = [rank_axis(column.axis, [one.get(column.axis.key) for one in measured]) for column in axes]
    unordered = [
        make_row(method, {one.axis.key: one.cells[place] for one in ranked}, [one.axis for one in ranked])
        for place, method in enumerate(group.methods)
    ]
    order = sorted(range(len(unordered)), key=lambda place: row_order(unordered[place]))
    rows = tuple(unordered[place] for place in order)
    suite = group.suite
    return Board(
        suite=suite.label,
        key=file_key(suite.name, suite.changed),
        title=suite.title,
        why=suite.why,
        version=suite.version,
        tasks=group.tasks,
        notes=notes(group, rows, ranked),
        axes=tuple(one.axis for one in ranked),
        rows=rows,
        pairs={one.axis.key: one.pairs.in_order(order) for one in ranked},
        excluded=(*group.excluded, *excluded),
        reference=next((row.key for row in rows if row.method == _plain_training(suite) and not row.params), ""),
    )


def _plain_training(suite: Suite) -> str:
    """The method that trains the suite's own networks; without any, that of a network whose method is left open."""
    return next((network.method for network in suite.networks.values()), Network.method)
