"""What has changed between two leaderboards, or between two records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
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


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a row as a whole rests on, and where it stands."""

    seeds: tuple[int, ...]
    """Those that any of its cells is over."""
    place: int | None
    """Among the rows with a mean rank, from 1; None without one."""
    mean_rank: float | None


States = dict[Key, RowState | Standing]
"""Every cell; a row has its standing under the empty axis, so that a row without cells counts."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference."""

    kind: Literal["added", "removed", "changed", "moved"]
    """``moved``: the value is another, by no more than the intervals allow, or only its rank or flag is. A row has
    changed where its seeds have, or whether it has a place; another place or mean rank has moved."""
    what: Literal["board", "row", "cell"]
    key: Key
    old: RowState | Standing | None = None
    new: RowState | Standing | None = None

    def __str__(self) -> str:
        place = " ".join(plain(part) for part in self.key if part)
        sign = {"added": "+", "removed": "-", "changed": "!", "moved": "~"}[self.kind]
        if isinstance(self.old, Standing) and isinstance(self.new, Standing):
            numbers = _show_standings(self.old, self.new)
        else:
            numbers = " -> ".join(_show(state) for state in (self.old, self.new) if isinstance(state, RowState))
        return " ".join(filter(None, (sign, self.what, place, numbers)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def _show(state: RowState) -> str:
    last = "" if state.last_rank == state.rank else f"-{state.last_rank}"
    rank = "" if state.rank is None else f", rank {state.rank}{last}"
    return f"{state.value:.4f} ({state.ci_low:.4f} - {state.ci_high:.4f}{rank}{', flagged' if state.flagged else ''})"


def _show_standings(old: Standing, new: Standing) -> str:
    """What of them differs, before and after."""
    shown = {
        "seeds": [", ".join(map(str, one.seeds)) or "none" for one in (old, new)],
        "place": ["none" if one.place is None else str(one.place) for one in (old, new)],
        "mean rank": ["none" if one.mean_rank is None else f"{one.mean_rank:.2f}" for one in (old, new)],
    }
    return ", ".join(f"{what} {before} -> {after}" for what, (before, after) in shown.items() if before != after)


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
    """Whole boards and rows first, without their cells; then the other rows, each before its cells, in order."""
    for kind, here, there in (("removed", before, after), ("added", after, before)):
        boards = sorted({key[0] for key in here} - {key[0] for key in there})
        yield from (Change(kind, "board", (board, "", "")) for board in boards)  # type: ignore[arg-type]  # its literals
        rows = sorted({key[:2] for key in here if key[0] not in boards} - {key[:2] for key in there})
        yield from (Change(kind, "row", (*row, "")) for row in rows)  # type: ignore[arg-type]  # as above
    common = {key[:2] for key in before} & {key[:2] for key in after}
    for key in sorted(before.keys() | after.keys()):
        if key[:2] not in common:
            continue
        old, new = before.get(key), after.get(key)
        if isinstance(old, Standing) and isinstance(new, Standing):
            if old != new:
                same = old.seeds == new.seeds and (old.place is None) == (new.place is None)
                yield Change("moved" if same else "changed", "row", key, old, new)
        elif isinstance(old, RowState) and isinstance(new, RowState):
            if old != new:
                yield Change("changed" if _beyond(old, new) else "moved", "cell", key, old, new)
        else:
            yield Change("added" if old is None else "removed", "cell", key, old, new)


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
        for place, row in enumerate(board.rows, start=1):
            seeds = {seed for cell in row.cells.values() for seed, _ in cell.per_seed}
            rank = None if row.mean_rank is None else round(row.mean_rank, DIGITS)
            states[board.suite, row.key, ""] = _standing(place, seeds, rank)
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
            for place, row in enumerate(board["rows"], start=1):
                seeds = {seed for cell in row["cells"].values() for seed in cell["seeds"]}
                states[board["suite"], row["key"], ""] = _standing(place, seeds, row["mean_rank"])
                for axis, cell in row["cells"].items():
                    numbers = {name: cell[name] for name in ("value", "ci_low", "ci_high", "rank", "last_rank")}
                    states[board["suite"], row["key"], axis] = RowState(**numbers, flagged=bool(cell["flags"]))
    except (KeyError, TypeError, AttributeError):
        raise KdbenchError(f"{path} is no index of a leaderboard", "`kdbench leaderboard build` writes one") from None
    return states


def _standing(place: int, seeds: Iterable[int], mean_rank: float | None) -> Standing:
    """Of the row at a place of its board: rows with a mean rank come first."""
    return Standing(tuple(sorted(seeds)), None if mean_rank is None else place, mean_rank)


def _of_record(record: Record) -> States:
    states: States = {("", "", ""): Standing((), None, None)}
    for score in record.scores:
        state = RowState(score.value, score.ci_low, score.ci_high, flagged=bool(record.flags(score)))
        states["", "", f"{score.condition} {score_name(score)}"] = state
    return states
