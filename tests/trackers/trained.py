"""A short training whose log and scores trackers get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdbench.results.record import Record
from kdbench.running.runner import record_path, run


def trained(suite: Path, out: Path, **options: Any) -> tuple[Record, list[dict[str, Any]], Path]:
    """One condition of the tiny suite: its record, its log and its folder."""
    record = run(str(suite), "ce", conditions=["clean"], tasks=["clean", "calibration"], out=out, **options)
    folder = record_path(record, out).parent
    return record, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()], folder
