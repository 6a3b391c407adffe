from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kdbench.results.attestation import Attestation, read_attestation
from kdbench.results.untrusted import Unreadable

RECORD = "5" * 64


def attestation(**changes: Any) -> Attestation:
    fields: dict[str, Any] = {
        "run_id": "0" * 16,
        "record_sha256": RECORD,
        "by": "A. Person",
        "retrained": "0" * 16,
        "method_source": "1" * 64,
        "exact": False,
        "counts": {"same": 2, "within interval": 1, "not": 0, "not reproduced": 0, "unchecked": 0},
        "findings": [],
        "machine": {"torch": "2.11", "threads": "1"},
        "kdbench_version": "0.1.0",
        "kdbench_commit": None,
        "kdbench_dirty": None,
        "finished": "2026-01-02T03:04:05+00:00",
    }
    return Attestation.make(**{**fields, **changes})


def put(folder: Path, found: Attestation, **changes: Any) -> Path:
    file = folder / found.file
    file.write_text(json.dumps({**json.loads(found.to_json()), **changes}))
    return file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = attestation()
    assert read_attestation(put(tmp_path, found), RECORD) == found
    assert found.agreed
    assert found.summary == "2 same, 1 within interval"


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {"same": 2, "not": 1}},
        {"counts": {"same": 2, "not reproduced": 1}},
        {"counts": {"same": 2, "unchecked": 1}},
        {"counts": {"same": 0}},
        {"findings": ["the budget was extended"]},
    ],
)
def test_it_agrees_only_where_every_score_came_out_again(changes: dict[str, Any]) -> None:
    assert not attestation(**changes).agreed


@pytest.mark.parametrize(
    "changes",
    [
        {"by": ""},
        {"by": " A"},
        {"by": "A\nB"},
        {"by": "\N{RIGHT-TO-LEFT OVERRIDE}A"},
        {"by": "A" * 101},
        {"counts": {"same": 10**9}},
        {"counts": {"same": -1}},
        {"counts": {"fine": 1}},
        {"findings": ["x"] * 51},
        {"findings": ["x" * 401]},
        {"machine": {str(number): "" for number in range(31)}},
        {"record_sha256": "zz"},
        {"more": 1},
    ],
)
def test_every_part_has_a_bound(changes: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, TypeError)):
        attestation(**changes)


def test_another_word_is_another_attestation(tmp_path: Path) -> None:
    found = attestation()
    with pytest.raises(Unreadable, match="hash of the other fields"):
        read_attestation(put(tmp_path, found, by="B. Person"), RECORD)
    with pytest.raises(Unreadable, match="of another record"):
        read_attestation(put(tmp_path, found), "6" * 64)
    renamed = put(tmp_path, found).rename(tmp_path / f"{'7' * 16}.attestation.json")
    with pytest.raises(Unreadable, match="not named after its content"):
        read_attestation(renamed, RECORD)
    link = tmp_path / found.file
    link.symlink_to(renamed)
    with pytest.raises(Unreadable, match="link"):
        read_attestation(link, RECORD)
    big = tmp_path / "big.attestation.json"
    big.write_text(" " * 70_000)
    with pytest.raises(Unreadable, match="larger"):
        read_attestation(big, RECORD)
