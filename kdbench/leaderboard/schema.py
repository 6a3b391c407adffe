"""leaderboards/schema.json: the JSON Schema of a record, made from its model."""

from __future__ import annotations

import json
from pathlib import Path

from kdbench.files import require_path, write_atomically
from kdbench.results.record import Record


def schema_text() -> str:
    """The file's content."""
    return json.dumps(Record.model_json_schema(), indent=1, sort_keys=True) + "\n"


def write_schema(path: Path | str) -> None:
    """Write it to ``path``."""
    write_atomically(require_path("write_schema", path), schema_text().encode())
