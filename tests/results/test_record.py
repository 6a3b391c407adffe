"""A record keeps what it says, and one from before a field was kept is still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.results.record import read_record
from tests.leaderboard.evidence import make

SEEN = {"clean": "strong", "sym-40": "strong"}


def test_views_are_kept_beside_the_specification_and_change_no_run_id(tmp_path: Path) -> None:
    made, old = make("nrd", views=SEEN), make("nrd")
    assert made.record.run_id == old.record.run_id
    assert read_record(str(made.keep(tmp_path))).views == SEEN


def test_a_record_from_before_views_were_kept_is_read(tmp_path: Path) -> None:
    path = make("nrd").keep(tmp_path)
    values = json.loads(path.read_text())
    del values["views"]
    path.write_text(json.dumps(values))
    assert read_record(path).views == {}


def test_views_of_conditions_that_were_not_run_are_refused(tmp_path: Path) -> None:
    path = make("nrd", views=SEEN).keep(tmp_path)
    values = json.loads(path.read_text())
    values["views"]["web"] = "own"
    path.write_text(json.dumps(values))
    with pytest.raises(KdbenchError, match="views of conditions.*'web'.*the run has"):
        read_record(path)
