"""A package that ``kdbench new-plugin`` writes passes its own tests, and kdbench finds what it brings."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.new import KINDS, write_plugin
from tests.commands import forked, kdbench, started_anew
from tests.distributions import write_distribution

LISTED = {"method": "methods", "task": "tasks", "attack": "attacks", "dataset": "datasets", "noise": "label-noises"}


def install(folder: Path, site: Path) -> None:
    """As pip does it: the module, and where its entry point is written down."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for module in folder.glob("*.py"):
        (site / module.name).write_text(module.read_text())
    write_distribution(site, project["name"], project["entry-points"]["kdbench"], version=project["version"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_plugin("my-own", kind, tmp_path)
    folder = tmp_path / "kdbench-my-own"
    assert {file.relative_to(folder).as_posix() for file in files} == {
        "pyproject.toml", "README.md", ".gitignore", ".github/workflows/ci.yml", "kdbench_my_own.py",
        "tests/test_my_own.py", *(["tests/conftest.py"] if kind in ("method", "attack") else []),
    }  # fmt: skip
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.chdir(folder)
    done = forked("pytest", "-q", "-p", "no:cacheprovider", PYTHONPATH=paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind, installed."""
    place, site = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("site")
    for kind in KINDS:
        write_plugin(f"my-{kind}", kind, place)
        install(place / f"kdbench-my-{kind}", site)
    return site


@pytest.fixture
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_brings_is_found(kind: str) -> None:
    done = kdbench("list", LISTED[kind])
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(f"my-{kind} ") for line in done.stdout.splitlines()), done.stdout


@pytest.mark.usefixtures("_installed")
def test_each_is_loaded_by_a_python_that_has_imported_nothing_yet() -> None:
    done = started_anew("plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["failures"]
    assert {f"kdbench-my-{kind} 0.1.0" for kind in KINDS} <= {*found["loaded"].values()}


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
