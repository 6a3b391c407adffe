"""A run whose files are damaged, of an earlier version, or being made by another process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kdbench import locks
from kdbench.results.record import Record, read_record
from kdbench.results.store import read_records
from kdbench.running.runner import record_path, run
from kdbench.sealed import SUMS, DamagedError, faults
from tests.conftest import SMALL_SUITE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, Path]:
    """A run, the text of its suite, and where it is kept."""
    place = tmp_path_factory.mktemp("mending")
    suite = place / "small.toml"
    suite.write_text(SMALL_SUITE.replace("epochs = 2", "epochs = 1").partition("[tasks.pgd]")[0] + "[tasks.clean]\n")
    return suite, run(str(suite), "ce", out=place / "runs"), place / "runs"


def test_a_damaged_record_is_refused_by_readers_and_made_again_by_a_run(
    finished: tuple[Path, Record, Path], caplog: pytest.LogCaptureFixture
) -> None:
    suite, record, out = finished
    path = record_path(record, out)
    whole = path.read_text()
    path.write_text(whole.replace('"value": 0.', '"value": 1.', 1) if '"value": 0.' in whole else whole + " ")
    with pytest.raises(DamagedError, match=r"record\.json is damaged"):
        read_record(path)
    runs, excluded = read_records(out)
    assert runs == () and excluded[0].reason == f"is damaged: it is not the file that {SUMS} lists"
    with pytest.warns(UserWarning, match=r"record\.json is damaged.*made again"):
        again = run(str(suite), "ce", out=out)
    assert again.scores == record.scores and read_record(path) == again
    assert again.hashes.students["clean"].reused
    assert path.with_name("record.json.damaged").exists() and faults(path.parent) == {}


def test_damaged_evidence_is_made_again_and_the_record_is_kept(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    folder = record_path(record, out).parent
    (folder / "predictions.npz").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"predictions\.npz is damaged.*made again"):
        again = run(str(suite), "ce", out=out)
    assert again.hashes.evidence["predictions.npz"] == record.hashes.evidence["predictions.npz"]
    assert faults(folder) == {} and (folder / "record.previous.json").exists()


def test_who_deletes_a_checkpoint_of_a_finished_run_keeps_the_run(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    path = record_path(record, out)
    before = path.read_bytes()
    path.with_name("checkpoint-clean.safetensors").unlink()
    assert run(str(suite), "ce", out=out).scores == record.scores
    assert path.read_bytes() == before
    assert faults(path.parent) == {"checkpoint-clean.safetensors": "is missing"}


def test_a_finished_run_of_an_earlier_version_is_found(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    path = record_path(record, out)
    (path.parent / SUMS).unlink()
    before = path.read_bytes()
    assert run(str(suite), "ce", out=out).scores == record.scores
    assert path.read_bytes() == before


def test_a_second_process_says_whom_it_waits_for_and_takes_the_result(
    finished: tuple[Path, Record, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, record, out = finished
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.05)
    folder = record_path(record, out).parent
    path, aside = folder / "record.json", folder.parent / "aside.json"
    path.rename(aside)
    with locks.locked(folder.parent / f"{folder.name}.lease"):
        other = threading.Thread(target=lambda: run(str(suite), "ce", out=out))
        other.start()
        while not any("waiting for it" in message for message in caplog.messages):
            other.join(0.05)
            assert other.is_alive()
        aside.rename(path)
        before = path.stat().st_mtime_ns
    other.join()
    assert f"run {record.run_id} of 'ce' is being done by process" in caplog.text
    assert path.stat().st_mtime_ns == before
