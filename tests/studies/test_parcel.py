from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.files import TRIES, write_atomically
from kdbench.sealed import DamagedError, Sealed, faults
from kdbench.studies import parcel
from kdbench.studies.parcel import Changes, Files, lay, read


def taken(changes: Changes) -> Files:
    found = changes.take()
    assert found is not None
    return found[0]


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
    assert changes.take() == ({}, ())
    lay(tmp_path, {"a/resume.pt": b"2", "a/log.jsonl": b"epoch"})
    assert changes.take() == ({"a/resume.pt": b"2", "a/log.jsonl": b"epoch"}, ())
    lay(tmp_path, {"a/resume.pt": b"2"})  # the same content in another file
    assert changes.take() == ({"a/resume.pt": b"2"}, ())
    (tmp_path / "a/resume.pt").unlink()
    assert changes.take() == ({}, ("a/resume.pt",))
    assert changes.take() == ({}, ())


def test_nothing_looks_finished_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(parcel, "write_atomically", lambda path, content: written.append(path.name))
    lay(tmp_path, dict.fromkeys(("r/record.json", "t/checkpoint.safetensors", "r/a", "t/softmax.npz"), b""))
    assert written == ["a", "softmax.npz", "checkpoint.safetensors", "record.json"]


def test_a_copy_admits_what_was_there_until_all_of_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is killed while it takes up files of another finds none of them damaged."""
    here, there = tmp_path / "here", tmp_path / "there"
    files = Sealed(here / "t")
    files.write({"resume.pt": b"1", "log.jsonl": b"1"})
    changes = Changes(here, ["t"], since_now=False)
    lay(there, taken(changes))
    for number in (b"2", b"3"):
        files.write({"resume.pt": number, "log.jsonl": number})
    write = write_atomically

    def checked(path: Path, content: bytes) -> None:
        assert faults(there / "t") == {}
        write(path, content)
        assert faults(there / "t") == {}

    monkeypatch.setattr(parcel, "write_atomically", checked)
    lay(there, taken(changes))
    assert read(there, ["t"]) == read(here, ["t"])
    (there / "t/resume.pt").write_bytes(b"2")
    assert list(faults(there / "t")) == []  # the last but one, which a change that is not settled admits
    (there / "t/resume.pt").write_bytes(b"1")
    assert list(faults(there / "t")) == ["resume.pt"]


@pytest.mark.parametrize("settled", [False, True])
def test_what_is_gone_goes_before_the_list_that_knows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    """A training that ended deletes what it would have gone on from, which a copy has from some epochs before."""
    here, there = tmp_path / "here", tmp_path / "there"
    files = Sealed(here / "t")
    files.write({"resume.pt": b"1", "partial/x.npz": b"1", "log.jsonl": b"1"})
    changes = Changes(here, ["t"], since_now=False)
    lay(there, taken(changes))
    files.write({"resume.pt": b"2"})
    files.write({"checkpoint.safetensors": b"3"}, ["resume.pt", "partial/x.npz"])
    if settled:
        files.settle()
    news, gone = changes.take() or pytest.fail("nothing changes any more")
    seen: list[dict[str, str]] = []

    def watched(path: Path, content: bytes) -> None:
        seen.append(faults(there / "t"))
        write_atomically(path, content)
        seen.append(faults(there / "t"))

    monkeypatch.setattr(parcel, "write_atomically", watched)
    lay(there, news, gone)
    assert seen == [{}] * 4
    assert read(there, ["t"]) == read(here, ["t"])
    lay(there, {"t/log.jsonl": b"1"}, ["t/none"])
    assert faults(there / "t") == {}


def test_what_came_damaged_is_not_laid(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    Sealed(here / "t").write({"resume.pt": b"1", "partial/x.npz": b"2", "log.jsonl": b"3"})
    files = read(here, ["t"])
    for name in ("t/resume.pt", "t/partial/x.npz"):
        with pytest.raises(DamagedError, match=f"{name} is not the file that was sent"):
            lay(there, {**files, name: b"another"})
    assert not there.exists()
    lay(there, files)
    assert read(there, ["t"]) == files


@pytest.mark.parametrize("times", [2, 2 * TRIES])
def test_what_is_taken_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """However often a worker changes its files while they are read, and when one of them goes just then."""
    files = Sealed(tmp_path / "here/t")
    files.write({"resume.pt": b"1", "old": b"1"})
    changes = Changes(tmp_path / "here", ["t"])
    again, stamps = [times], Changes._stamps

    def meanwhile(self: Changes) -> Iterator[tuple[str, tuple[int, int]]]:
        found = list(stamps(self))
        if again[0]:
            again[0] -= 1
            files.write({"resume.pt": b"2", "log.jsonl": b"%d" % again[0]}, ["old"])
        yield from found

    monkeypatch.setattr(Changes, "_stamps", meanwhile)
    taken = changes.take()
    assert (taken is None) == (times > TRIES)  # two looks a try
    news, gone = taken or changes.take() or pytest.fail("nothing changes any more")
    lay(tmp_path / "there", news, gone)
    assert gone == ("t/old",) and faults(tmp_path / "there/t") == {}
    assert read(tmp_path / "there", ["t"]) == read(tmp_path / "here", ["t"])
