"""Files of labels that a suite names: their content is part of the setting, their place is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.running.trial import tiny_training
from kdbench.specs import Suite
from kdbench.suites import load_suite
from kdbench.suites.changes import with_changes
from kdbench.suites.copying import copy_text
from tests.conftest import SMALL_SUITE


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(folder: Path, content: bytes, noise: str = 'path = "mine.npy"') -> Path:
    """A suite with a file of labels beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.npy").write_bytes(content)
    text = SMALL_SUITE.replace("[tasks.pgd]", f'[conditions.own]\nnoise = {{ kind = "file", {noise} }}\n\n[tasks.pgd]')
    (folder / "small.toml").write_text(text)
    return folder / "small.toml"


def training(suite: Suite) -> str:
    condition = suite.conditions["own"]
    return tiny_training("ce", {}, condition.recipe, condition.noise).digest()


def test_what_is_in_the_file_identifies_and_where_it_lies_does_not(tmp_path: Path) -> None:
    one, moved, other = (
        load_suite(str(write(tmp_path / name, content)))
        for name, content in (("a", b"one"), ("b", b"one"), ("c", b"other"))
    )
    noise = one.conditions["own"].noise
    assert noise is not None
    assert noise.path == str(tmp_path / "a" / "mine.npy")
    assert noise.sha256 == sha256(b"one")
    assert one != moved, "each knows where its own file lies"
    assert one.without_paths() == moved.without_paths()
    assert one.without_paths() != other.without_paths()
    assert training(one) == training(moved)
    assert training(one) != training(other)
    assert "mine.npy" not in one.without_paths().canonical_json()


def test_a_stated_hash_is_checked_and_suffices(tmp_path: Path) -> None:
    stated = f'sha256 = "{sha256(b"one")}"'
    both = load_suite(str(write(tmp_path / "a", b"one", f'path = "mine.npy", {stated}')))
    alone = load_suite(str(write(tmp_path / "b", b"", stated)))
    assert both.without_paths() == alone
    file = write(tmp_path / "c", b"other", f'path = "mine.npy", {stated}')
    with pytest.raises(KdbenchError, match=r"conditions\.own\.noise\.path: the file .* has SHA-256 \w+, expected"):
        load_suite(str(file))
    (tmp_path / "c" / "mine.npy").unlink()
    assert load_suite(str(file)).without_paths() == alone, "it may lie in the data folder by now"


def test_a_missing_file_of_unknown_content_is_one_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a", b"one")
    (tmp_path / "a" / "mine.npy").unlink()
    with pytest.raises(KdbenchError, match=r"suite file .*small\.toml: conditions\.own\.noise\.path: there is no file"):
        load_suite(str(file))


def test_a_file_named_by_hand_is_a_change_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite(str(write(tmp_path / "a", b"one")))
    (tmp_path / "new.npy").write_bytes(b"new")
    monkeypatch.chdir(tmp_path)
    found = with_changes(suite, {"conditions.own.noise.path": "new.npy"})
    noise = found.conditions["own"].noise
    assert noise is not None
    assert (noise.path, noise.sha256) == (str(tmp_path / "new.npy"), sha256(b"new"))
    assert found.changed == {"conditions.own.noise.sha256": sha256(b"new")}
    again = with_changes(suite, found.changed)
    assert again.without_paths() == found.without_paths(), "a record's changes make the same suite elsewhere"
    clean = with_changes(suite, {"conditions.clean.noise": {"kind": "file", "path": str(tmp_path / "new.npy")}})
    assert clean.changed == {"conditions.clean.noise.kind": "file", "conditions.clean.noise.sha256": sha256(b"new")}


def test_a_change_of_something_else_keeps_the_file(tmp_path: Path) -> None:
    suite = load_suite(str(write(tmp_path / "a", b"one")))
    found = with_changes(suite, {"recipe.epochs": 4})
    assert found.conditions["own"].noise == suite.conditions["own"].noise
    assert found.changed == {"recipe.epochs": 4}


def test_a_copy_reads_the_same_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a", b"one")
    (tmp_path / "a" / "copy.toml").write_text(copy_text(file))
    copied = load_suite(str(tmp_path / "a" / "copy.toml"))
    assert copied.conditions == load_suite(str(file)).conditions
