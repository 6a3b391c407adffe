from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdbench.files import file_sha256
from kdbench.leaderboard import load, rank
from kdbench.leaderboard.index import index_text
from kdbench.leaderboard.site import build
from kdbench.leaderboard.standing import OURS, REPORTED, standing
from kdbench.leaderboard.submit import submit
from kdbench.leaderboard.validate import validate
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import attestations, beside
from kdbench.results.store import read_records
from tests.leaderboard.evidence import make
from tests.results.test_attestation import attestation

REFUTING = {"counts": {"same": 1, "not": 2}}


def attest(record: Path, by: str = "A. Person", **changes: Any) -> Path:
    """Somebody's word on the record at a path."""
    found = attestation(
        run_id=json.loads(record.read_text())["run_id"], record_sha256=file_sha256(record), by=by, **changes
    )
    file = beside(record, found.file)
    file.write_text(found.to_json())
    return file


def test_a_third_partys_row_is_reported_until_somebody_got_the_same(tmp_path: Path) -> None:
    paths = [make("mine", seed=seed).publish(tmp_path) for seed in range(2)]
    [row] = rank(tmp_path).boards[0].rows
    assert row.standing == REPORTED
    attest(paths[0], **REFUTING)
    [row] = rank(tmp_path).boards[0].rows
    assert row.standing == "reported; not reproduced by A. Person (seed 0)"
    attest(paths[1], by="<b>B</b>")
    boards = rank(tmp_path)
    [row] = boards.boards[0].rows
    assert row.standing == "reproduced by <b>B</b> (seed 1); not reproduced by A. Person (seed 0)"
    assert boards.excluded == boards.boards[0].excluded == ()
    assert json.loads(index_text(boards, tmp_path))["boards"][0]["rows"][0]["standing"] == row.standing
    frame = load(tmp_path)
    assert set(frame[frame.seed == 1].standing) == {"reproduced by <b>B</b>"}
    build(boards, tmp_path / "site")
    for page in ("digits/index.html", "digits/method/mine.html"):
        text = (tmp_path / "site" / page).read_text()
        assert "reproduced by &lt;b&gt;B&lt;/b&gt;" in text
        assert "<b>B</b>" not in text


def test_a_method_of_this_project_says_whose_it_is(tmp_path: Path) -> None:
    path = make("ce", source=load_plugins().methods.get("ce").source).publish(tmp_path)
    runs = read_records(tmp_path)[0]
    assert standing(runs) == OURS
    attest(path)
    assert standing(read_records(tmp_path)[0]) == "reproduced by A. Person"


def test_names_are_few_and_each_is_there_once(tmp_path: Path) -> None:
    path = make("mine").publish(tmp_path)
    for number, name in enumerate("ABCDEA"):
        attest(path, by=name, finished=str(number))
    said = standing(read_records(tmp_path)[0])
    assert said.startswith("reproduced by ") and said.endswith(" and 2 more")


def test_a_word_on_another_record_counts_for_nothing_and_is_an_error(tmp_path: Path) -> None:
    first, second = (make("mine", seed=seed).publish(tmp_path) for seed in range(2))
    file = attest(first)
    file.rename(beside(second, file.name.split(".", 1)[1]))
    assert {standing([run]) for run in read_records(tmp_path)[0]} == {REPORTED}
    assert [problem.message for problem in validate(second) if problem.path != second] == ["is of another record"]


def test_there_is_an_end_to_how_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.results.evidence.MOST", 2)
    path = make("mine").publish(tmp_path)
    for number in range(5):
        attest(path, by=str(number))
    found, wrong = attestations(path)
    assert len(found) == 2
    assert [error.message for _, error in wrong] == ["is one of 5 attestations of a record, 2 at most are read"]


def test_submit_carries_them_also_when_the_record_is_there(tmp_path: Path) -> None:
    run = make("mine").keep(tmp_path / "runs")
    done = submit(run, tmp_path / "records")
    file = attest(run)
    again = submit(run, tmp_path / "records")
    assert again.written == [beside(done.record, file.name)]
    assert len(attestations(done.record)[0]) == 1
