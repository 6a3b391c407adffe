"""A folder that knows its files: what is admitted when, and what is called damaged."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from kdbench import sealed
from kdbench.files import WriteError
from kdbench.sealed import FRESH, SUMS, SWAP, DamagedError, Sealed, check, fault, faults, mend, read_sums

FILES = {"log.jsonl": b"one", "partial/a.json": b"two", "record.json": b"three"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = Sealed(tmp_path / "run")
    files.write(FILES)
    files.settle()
    return files.folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_everything_is_listed_and_other_programs_can_check_it(folder: Path) -> None:
    assert read_sums(folder) == {name: (sha256(content),) for name, content in FILES.items()}
    assert faults(folder) == {}
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True)


def test_a_change_admits_the_old_and_the_new_until_it_is_settled(folder: Path) -> None:
    files = Sealed(folder)
    files.write({"log.jsonl": b"new"}, gone=["partial/a.json"])
    listed = read_sums(folder)
    assert listed is not None
    assert listed["log.jsonl"] == (sha256(b"new"), sha256(b"one"))
    assert listed["partial/a.json"] == ("absent", sha256(b"two"))
    assert not (folder / "partial/a.json").exists()
    (folder / "log.jsonl").write_bytes(b"one")
    assert faults(folder) == {}
    files.settle()
    assert faults(folder) == {"log.jsonl": f"is damaged: it is not the file that {SUMS} lists"}


def test_whoever_goes_on_after_a_kill_knows_which_file_is_there(folder: Path) -> None:
    """A change whose files did not appear any more."""
    old = (folder / "log.jsonl").read_bytes()
    Sealed(folder).write({"log.jsonl": b"new", "never": b"there"})
    (folder / "log.jsonl").write_bytes(old)
    (folder / "never").unlink()
    files = Sealed(folder)
    files.settle()
    assert read_sums(folder) == {name: (sha256(content),) for name, content in FILES.items()}


def test_every_bit_of_every_file_counts(folder: Path) -> None:
    for path in (folder / "log.jsonl", folder / "partial/a.json", folder / SUMS):
        whole = path.read_bytes()
        bits = range(8 * len(whole))
        for bit in (*bits[:: 1 if len(bits) < 100 else 31], *bits[-9:]):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            assert list(faults(folder)) == [path.relative_to(folder).as_posix()], bit
        path.write_bytes(whole)
    assert faults(folder) == {}


def test_readers_refuse_what_is_damaged_or_missing_and_take_what_is_not_listed(folder: Path) -> None:
    check(folder / "log.jsonl")
    check(folder / "partial/a.json", "partial/a.json")
    (folder / "log.jsonl").write_bytes(b"two")
    (folder / "partial/a.json").unlink()
    with pytest.raises(DamagedError, match=r"log\.jsonl is damaged"):
        check(folder / "log.jsonl")
    with pytest.raises(DamagedError, match=r"partial/a\.json is missing"):
        check(folder / "partial/a.json", "partial/a.json")
    (folder / "of an earlier version").write_bytes(b"")
    check(folder / "of an earlier version")
    check(folder / "not there")


def test_a_file_that_is_replaced_while_it_is_read_is_not_called_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, files = sealed._hash, Sealed(folder)

    def late(path: Path) -> str:
        if path.read_bytes() == b"one":
            for content in (b"next", b"last"):
                files.write({"log.jsonl": content})
        return found(path)

    monkeypatch.setattr(sealed, "_hash", late)
    assert fault(folder, "log.jsonl") == ""


def test_what_is_damaged_is_named_and_set_aside(folder: Path) -> None:
    (folder / "log.jsonl").write_bytes(b"two")
    (folder / ".log.jsonl.0a1b.tmp").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"log\.jsonl is damaged.*\. It is made again"):
        assert list(mend(folder)) == ["log.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == [SUMS, "log.jsonl.damaged", "partial", "record.json"]
    assert mend(folder) == {}
    Sealed(folder).write({"log.jsonl": b"again"})
    assert faults(folder) == {}


@pytest.mark.filterwarnings("ignore:.*It is made again")
def test_nothing_is_trusted_where_the_list_is_damaged(folder: Path) -> None:
    (folder / SUMS).write_bytes(b"")
    with pytest.raises(DamagedError, match=f"{SUMS} is damaged"):
        check(folder / "log.jsonl")
    assert sorted(mend(folder)) == sorted([SUMS, *FILES])
    assert not any((folder / name).exists() for name in FILES)
    assert mend(folder) == {}


def test_a_folder_takes_the_place_of_another_and_what_is_not_in_it_goes(folder: Path) -> None:
    again = Sealed(folder / FRESH)
    again.write({"log.jsonl": b"new", "record.json": b"newer"})
    (folder / "stale").touch()
    Sealed(folder).take(again.folder)
    assert read_sums(folder) == {"log.jsonl": (sha256(b"new"),), "record.json": (sha256(b"newer"),)}
    assert sorted(path.name for path in folder.iterdir()) == [SUMS, "log.jsonl", "partial", "record.json"]
    assert faults(folder) == {}


def test_an_exchange_that_was_interrupted_anywhere_is_finished(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each file is there and whole at every step."""
    Sealed(folder / FRESH).write({"log.jsonl": b"new", "record.json": b"newer"})
    replace, left = os.replace, [0]

    def strike(*arguments: object) -> None:
        assert (folder / "record.json").exists() and faults(folder) == {}
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(*arguments)  # type: ignore[arg-type]  # as it was called

    for steps in range(20):
        left[0] = steps
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", strike)
            try:
                if (folder / FRESH).exists():
                    Sealed(folder).take(folder / FRESH)
                mend(folder)
                break
            except KeyboardInterrupt:
                assert faults(folder) == {}
    assert steps > 3
    assert [(folder / name).read_bytes() for name in ("log.jsonl", "record.json")] == [b"new", b"newer"]
    assert not (folder / SWAP).exists() and not (folder / "partial/a.json").exists()


def test_a_full_disk_leaves_everything_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kdbench.files.sync", full)
        with pytest.raises(WriteError, match=r"cannot write .*log\.jsonl: No space left on device .*free some space"):
            Sealed(folder).write({"log.jsonl": b"new"})
    assert faults(folder) == {} and (folder / "log.jsonl").read_bytes() == b"one"
    assert not list(folder.glob(".*"))


def test_a_link_is_replaced_and_what_it_points_to_stays(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    (folder / "new").symlink_to(target)
    Sealed(folder).write({"new": b"ours"})
    assert target.read_bytes() == b"mine"
    assert (folder / "new").read_bytes() == b"ours" and not (folder / "new").is_symlink()
