"""A package that ``kdbench new-plugin`` writes passes its own tests, and kdbench finds what it brings."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.new import KINDS, write_plugin
from tests.commands import kdbench, started_anew

LISTED = {"method": "methods", "task": "tasks", "attack": "attacks", "dataset": "datasets", "noise": "label-noises"}


def install(folder: Path, site: Path) -> None:
    """As pip does it: the module, and where its entry point is written down."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for module in folder.glob("*.py"):
        (site / module.name).write_text(module.read_text())
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["kdbench"]
    (info / "entry_points.txt").write_text("[kdbench]\n" + "".join(f"{name} = {one}\n" for name, one in points.items()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    files = write_plugin("my-own", kind, tmp_path)
    folder = tmp_path / "kdbench-my-own"
    assert {file.relative_to(folder).as_posix() for file in files} == {
        "pyproject.toml", "README.md", ".gitignore", ".github/workflows/ci.yml", "kdbench_my_own.py",
        "tests/test_my_own.py", *(["tests/conftest.py"] if kind in ("method", "attack") else []),
    }  # fmt: skip
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_brings_is_found(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    write_plugin("my-own", kind, tmp_path)
    install(tmp_path / "kdbench-my-own", tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    done = started_anew("list", LISTED[kind])
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("my-own ") for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Focal Loss", "method", "a plugin can't be named 'Focal Loss'"),
        ("../escape", "method", "a plugin can't be named"),
        ("class", "task", "a plugin can't be named 'class'"),
        ("mine", "methd", "no kind of plugin named 'methd' .did you mean 'method'"),
    ],
)
def test_a_bad_name_writes_nothing(name: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match=message):
        write_plugin(name, kind, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kdbench-mine").mkdir()
    with pytest.raises(KdbenchError, match="is there already"):
        write_plugin("mine", "method", tmp_path)
    assert [file.name for file in tmp_path.rglob("*")] == ["kdbench-mine"]


def test_the_command_says_what_to_do_next_and_refuses_a_name_that_is_taken(tmp_path: Path) -> None:
    done = kdbench("new-plugin", "kdbench-mine", "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"next: cd {tmp_path / 'kdbench-mine'} && pip install '.[test]' && pytest"
    taken = kdbench("new-plugin", "nrd", "--into", tmp_path)
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "method 'nrd' is installed already" in taken.stderr
