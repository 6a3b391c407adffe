"""leaderboards/index.json: the boards in short, made from the records and from nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from kdbench.files import require_path, write_atomically
from kdbench.leaderboard.board import Axis, Board, Boards, Cell, Row
from kdbench.leaderboard.ranking import rank
from kdbench.results.evidence import Excluded

INDEX_VERSION: Final = 2
"""Of this file's form. Version 1 had the key "apart" where this one has "excluded"."""
DIGITS: Final = 6
"""Decimals: what is beyond them depends on the machine that adds up."""


def make_index(boards: Boards, records: Path) -> dict[str, Any]:
    """Plain values for JSON; paths are relative to ``records``."""
    return {
        "index_version": INDEX_VERSION,
        "boards": [_board(board, records) for board in boards.boards],
        "excluded": _excluded(boards.excluded, records),
    }


def index_text(boards: Boards, records: Path) -> str:
    """The file's content."""
    return json.dumps(make_index(boards, records), indent=1, allow_nan=False) + "\n"


def write_index(records: Path | str, path: Path | str) -> Boards:
    """Rank ``records`` and write the index to ``path``."""
    folder, path = require_path("write_index", records), require_path("write_index", path)
    boards = rank(folder)
    write_atomically(path, index_text(boards, folder).encode())
    return boards


def _board(board: Board, records: Path) -> dict[str, Any]:
    return {
        "suite": board.suite,
        "version": board.version,
        "tasks": dict(board.tasks),
        "notes": list(board.notes),
        "axes": [_axis(axis) for axis in board.axes],
        "rows": [_row(row) for row in board.rows],
        "excluded": _excluded(board.excluded, records),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    return {**dataclasses.asdict(axis), "setting": dict(axis.setting)}


def _row(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "method": row.method,
        "params": dict(row.params),
        "budget": row.budget,
        "views": dict(row.views),
        "mean_rank": _rounded(row.mean_rank),
        "training_minutes": _rounded(row.training_minutes),
        "peak_memory_gib": _rounded(row.peak_memory_gib),
        "peak_device_memory_gib": _rounded(row.peak_device_memory_gib),
        "records": len(row.records),
        "runs": [record.record.run_id for run in row.runs for record in run.sources],
        "failed": [record.record.run_id for run in row.failed for record in run.sources],
        "standing": row.standing,
        "remarks": list(row.remarks),
        "cells": {axis: _cell(cell) for axis, cell in row.cells.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": round(cell.value, DIGITS),
        "ci_low": round(cell.ci_low, DIGITS),
        "ci_high": round(cell.ci_high, DIGITS),
        "basis": cell.basis,
        "n": cell.n,
        "seeds": [seed for seed, _ in cell.per_seed],
        "rank": cell.rank,
        "last_rank": cell.last_rank,
        "mark": cell.mark,
        "flags": list(cell.flags),
    }


def _excluded(files: tuple[Excluded, ...], records: Path) -> list[dict[str, str]]:
    listed = [{**dataclasses.asdict(file), "path": _relative(file.path, records)} for file in files]
    return sorted(listed, key=lambda file: (file["path"], file["reason"]))


def _relative(path: Path, records: Path) -> str:
    place = path.relative_to(records) if path.is_relative_to(records) else path
    return place.as_posix().encode("utf-8", "replace").decode()
