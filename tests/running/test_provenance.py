"""What a record says of the code that made it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdbench.running import package, provenance

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_a_checkout_knows_its_commit_and_whether_it_was_changed() -> None:
    provenance.commit.cache_clear()
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    assert provenance.commit() == (git("rev-parse", "HEAD"), changed)


def test_an_installed_copy_has_the_commit_that_it_was_built_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "BUILT", tmp_path / "kdbench/_commit.json")
    provenance.commit.cache_clear()
    assert provenance.commit() == (None, None)
    (tmp_path / "kdbench").mkdir()
    provenance.BUILT.write_text('{"commit": "abc", "dirty": true}')
    provenance.commit.cache_clear()
    assert provenance.commit() == ("abc", True)
    provenance.commit.cache_clear()


def test_the_hash_of_the_package_is_that_of_its_files_and_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(package, "ROOT", tmp_path)

    def of(**files: str) -> str:
        shutil.rmtree(tmp_path / "kdbench", ignore_errors=True)
        for name, text in files.items():
            (tmp_path / "kdbench" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "kdbench" / name).write_text(text)
        package.package_sha256.cache_clear()
        return package.package_sha256()

    plain = of(a="1", b="2")
    assert (
        plain
        == hashlib.sha256(
            f"a {hashlib.sha256(b'1').hexdigest()}\nb {hashlib.sha256(b'2').hexdigest()}\n".encode()
        ).hexdigest()
    )
    assert of(a="1", b="2", **{"__pycache__/x.pyc": "0"}) == plain
    assert len({plain, of(a="2", b="1"), of(a="1", c="2"), of(a="12")}) == 4
    package.package_sha256.cache_clear()


def test_all_distributions_are_listed_as_pip_does() -> None:
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    listed = {one["name"]: one["version"] for one in json.loads(frozen.stdout)}
    provenance.distributions.cache_clear()  # it may be of a test that had a plugin on the path
    assert provenance.distributions() == listed
    freeze = "".join(sorted(f"{name}=={version}\n" for name, version in listed.items()))
    found = provenance.collect(plugins={}, device=torch.device("cpu"), started="", seconds={})
    assert found.distributions_sha256 == hashlib.sha256(freeze.encode()).hexdigest()
    with pytest.raises(ValueError, match="distributions_sha256 is not the hash of distributions"):
        type(found).model_validate({**found.model_dump(), "distributions": {**listed, "torch": "0"}})


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/home/me/bin/kdbench", "run", "--seed", "1"], ["kdbench", "run", "--seed", "1"]),
        ([str(ROOT / "kdbench/__main__.py"), "reproduce"], ["kdbench", "reproduce"]),
        (["kdbench", "run", "--suite", "my/own.toml"], ["kdbench", "run", "--suite", "my/own.toml"]),
        (["kdbench", "--out=/scratch/me/runs"], ["kdbench", "--out=.../runs"]),
        (["kdbench", "--data-dir", "~me/images/"], ["kdbench", "--data-dir", ".../images"]),
        (["kdbench", "--set", "alpha=0.5"], ["kdbench", "--set", "alpha=0.5"]),
        (["kdbench", "https://me:secret@host/c?token=x#y"], ["kdbench", "https://host/c"]),
        (["/usr/bin/pytest", "/home/me/tests"], []),
        (["kdbench-of-mine"], []),
        ([], []),
    ],
)
def test_a_command_line_is_kept_without_what_is_private(argv: list[str], command: list[str]) -> None:
    assert provenance.command(argv) == command
