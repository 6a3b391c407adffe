"""What has changed between two leaderboards, or between two records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Boards
from kdbench.leaderboard.index import DIGITS, INDEX_VERSION
from kdbench.leaderboard.ranking import rank
from kdbench.results.record import Record, read_record
from kdbench.results.untrusted import Unreadable, plain, read_json
from kdbench.results.wording import name as score_name

Key = tuple[str, str, str]
"""Board, row and axis; of a single record only the last."""


@dataclasses.dataclass(frozen=True)
class RowState:
    """One number with its interval."""

    value: float
    ci_low: float
    ci_high: float
    rank: int | None = None
    last_rank: int | None = None
    flagged: bool = False


States = dict[Key, RowState | None]
"""Every cell; a row also has None under the empty axis, so that a row without cells counts."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference."""

    kind: Literal["added", "removed", "changed", "moved"]
    """``moved``: the value is another, by no more than the intervals allow, or only its rank or flag is."""
    what: Literal["board", "row", "cell"]
    key: Key
    old: RowState | None = None
    new: RowState | None = None

    def __str__(self) -> str:
        place = " ".join(plain(part) for part in self.key if part)
        sign = {"added": "+", "removed": "-", "changed": "!", "moved": "~"}[self.kind]
        numbers = " -> ".join(_show(state) for state in (self.old, self.new) if state is not None)
        return " ".join(filter(None, (sign, self.what, place, numbers)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def _show(state: RowState) -> str:
    last = "" if state.last_rank == state.rank else f"-{state.last_rank}"
    rank = "" if state.rank is None else f", rank {state.rank}{last}"
    return f"{state.value:.4f} ({state.ci_low:.4f} - {state.ci_high:.4f}{rank}{', flagged' if state.flagged else ''})"


def diff(old: Path, new: Path) -> list[Change]:
    """The differences between two folders of records, two index files, or two records.

    A folder can be compared with an index. A cell has changed where the difference of its values is larger than the
    intervals of both allow, as of independent numbers.

    Raises:
        KdbenchError: something cannot be read, or a record is compared with a leaderboard.
    """
    before, after = _read(old), _read(new)
    if not before and not after:
        raise KdbenchError(f"neither {old} nor {new} holds a ranked record", "give folders of records, or index files")
    if before and after and _is_record(before) != _is_record(after):
        raise KdbenchError("a record and a leaderboard have nothing in common", "give two of the same kind")
    return list(_differences(before, after))


def _differences(before: States, after: States) -> Iterator[Change]:
    """Whole boards and rows first, without their cells; then the other cells in order."""
    for kind, here, there in (("removed", before, after), ("added", after, before)):
        boards = sorted({key[0] for key in here} - {key[0] for key in there})
        yield from (Change(kind, "board", (board, "", "")) for board in boards)  # type: ignore[arg-type]  # its literals
        rows = sorted({key[:2] for key in here if key[0] not in boards} - {key[:2] for key in there})
        yield from (Change(kind, "row", (*row, "")) for row in rows)  # type: ignore[arg-type]  # as above
    common = {key[:2] for key in before} & {key[:2] for key in after}
    for key in sorted(before.keys() | after.keys()):
        if key[:2] not in common or not key[2]:
            continue
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            yield Change("added" if old is None else "removed", "cell", key, old, new)
        elif old != new:
            yield Change("changed" if _beyond(old, new) else "moved", "cell", key, old, new)


def _beyond(old: RowState, new: RowState) -> bool:
    """Whether two values differ by more than the sides of their intervals that face each other allow."""
    low, high = sorted((old, new), key=lambda state: state.value)
    return high.value - low.value > math.hypot(low.ci_high - low.value, high.value - high.ci_low)


def _is_record(states: States) -> bool:
    return any(not board for board, _, _ in states)


def _read(path: Path) -> States:
    if path.is_dir():
        return _of_boards(rank(path))
    try:
        value, _ = read_json(path)
    except Unreadable as error:
        line = "" if error.line is None else f", line {error.line}"
        raise KdbenchError(
            f"{path}{line}: {error.message}", "give folders of records, index files or records"
        ) from None
    if isinstance(value, dict) and "boards" in value:
        return _of_index(path, value)
    return _of_record(read_record(path))


def _of_boards(boards: Boards) -> States:
    states: States = {}
    for board in boards.boards:
        for row in board.rows:
            states[board.suite, row.key, ""] = None
            for axis, cell in row.cells.items():
                # As an index has them, so that a folder and its own index do not differ.
                value, low, high = (round(number, DIGITS) for number in (cell.value, cell.ci_low, cell.ci_high))
                state = RowState(value, low, high, cell.rank, cell.last_rank, bool(cell.flags))
                states[board.suite, row.key, axis] = state
    return states


def _of_index(path: Path, index: Mapping[str, Any]) -> States:
    """An index of any version up to today's: none of them differs in what is compared here."""
    states: States = {}
    try:
        if index["index_version"] > INDEX_VERSION:
            raise KdbenchError(
                f"{path} is an index of version {index['index_version']}, read are those up to {INDEX_VERSION}",
                "update kdbench",
            )
        for board in index["boards"]:
            for row in board["rows"]:
                states[board["suite"], row["key"], ""] = None
                for axis, cell in row["cells"].items():
                    numbers = {name: cell[name] for name in ("value", "ci_low", "ci_high", "rank", "last_rank")}
                    states[board["suite"], row["key"], axis] = RowState(**numbers, flagged=bool(cell["flags"]))
    except (KeyError, TypeError, AttributeError):
        raise KdbenchError(f"{path} is no index of a leaderboard", "`kdbench leaderboard build` writes one") from None
    return states


def _of_record(record: Record) -> States:
    states: States = {("", "", ""): None}
    for score in record.scores:
        state = RowState(score.value, score.ci_low, score.ci_high, flagged=bool(record.flags(score)))
        states["", "", f"{score.condition} {score_name(score)}"] = state
    return states
