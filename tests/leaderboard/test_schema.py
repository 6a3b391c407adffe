from __future__ import annotations

import json
from pathlib import Path

from kdbench.leaderboard.schema import schema_text
from kdbench.results.record import SCHEMA_VERSION, Record
from tests.leaderboard.evidence import make

COMMITTED = Path(__file__).parents[2] / "leaderboards/schema.json"


def test_the_committed_schema_is_the_record_models() -> None:
    assert schema_text() == COMMITTED.read_text()


def test_it_describes_every_field_that_a_record_has() -> None:
    schema = json.loads(schema_text())
    assert schema["properties"].keys() == Record.model_fields.keys() == json.loads(make().record.to_json()).keys()
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    for name in ("Score", "Check", "Provenance", "Hashes"):
        assert schema["$defs"][name]["additionalProperties"] is False
    assert "95 % interval" in schema["$defs"]["Score"]["properties"]["ci_low"]["description"]
