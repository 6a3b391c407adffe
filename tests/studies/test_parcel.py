from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.studies import parcel
from kdbench.studies.parcel import Changes, lay, read


def test_what_is_read_here_is_laid_there_and_unfinished_files_stay(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    files = {"a/log.jsonl": b"1", "a/partial/x.npz": b"2", "b/record.json": b"3"}
    lay(here, files)
    (here / "a/.log.jsonl.tmp").write_bytes(b"half")
    (here / "c").mkdir()
    (here / "c/other").write_bytes(b"4")
    assert read(here, ["a", "b", "none"]) == files
    lay(there, read(here, ["a"]))
    assert read(there, ["a", "b", "c"]) == {"a/log.jsonl": b"1", "a/partial/x.npz": b"2"}


def test_only_what_changed_is_taken_and_what_is_gone_is_said(tmp_path: Path) -> None:
    lay(tmp_path, {"a/old": b"0", "a/resume.pt": b"1"})
    changes = Changes(tmp_path, ["a"])
    assert changes.take() == {}
    lay(tmp_path, {"a/resume.pt": b"2", "a/log.jsonl": b"epoch"})
    assert changes.take() == {"a/resume.pt": b"2", "a/log.jsonl": b"epoch"}
    lay(tmp_path, {"a/resume.pt": b"2"})  # the same content in another file
    assert changes.take() == {"a/resume.pt": b"2"}
    (tmp_path / "a/resume.pt").unlink()
    assert changes.take() == {}
    assert changes.gone() == ("a/resume.pt",)
    assert changes.gone() == ()


def test_nothing_looks_finished_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(parcel, "write_atomically", lambda path, content: written.append(path.name))
    lay(tmp_path, dict.fromkeys(("r/record.json", "t/checkpoint.safetensors", "r/a", "t/softmax.npz"), b""))
    assert written == ["a", "softmax.npz", "checkpoint.safetensors", "record.json"]
