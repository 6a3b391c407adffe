from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench import memo


@pytest.fixture(autouse=True)
def _old_files_and_a_private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test wrote a moment ago is trusted, but where that is what is tested."""
    monkeypatch.setattr(memo, "RACY_NS", -(10**15))
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that reads a list of names beside itself, another one if it is there, and every suite in a folder."""
    folder = tmp_path / "path/watched_package"
    (folder / "suites").mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "from pathlib import Path\n"
        "from watched_package import inner\n"
        "HERE = Path(__file__).parent\n"
        "NAMES = (HERE / 'names.txt').read_text()\n"
        "try: NAMES += (HERE / 'more.txt').read_text()\n"
        "except OSError: pass\n"
        "SUITES = sorted(HERE.glob('suites/*.toml'))\n"
    )
    (folder / "inner.py").write_text("VALUE = 1\n")
    (folder / "names.txt").write_text("a\n")
    (folder / "suites/one.toml").write_text("")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def watched(package: Path) -> dict[str, memo.Mark]:
    """What importing the package reads, in this process as if it were the first time."""
    for name in [name for name in sys.modules if name.startswith("watched_package")]:
        del sys.modules[name]
    with memo.Watch() as watch:
        __import__("watched_package")
    marks = watch.marks()
    assert marks is not None
    assert memo.changed(marks) is None
    return marks


CHANGES: dict[str, Callable[[Path], object]] = {
    "its code": lambda package: (package / "__init__.py").write_text((package / "__init__.py").read_text() + "#\n"),
    "code it imports": lambda package: (package / "inner.py").write_text("VALUE = 2\n"),
    "the same size": lambda package: (package / "names.txt").write_text("b\n"),
    "a file it read": lambda package: (package / "names.txt").write_text("a\nb\n"),
    "times alone": lambda package: os.utime(package / "names.txt", ns=(1, 1)),
    "a file that was not there": lambda package: (package / "more.txt").write_text("c\n"),
    "a file that is gone": lambda package: (package / "names.txt").unlink(),
    "a file that is a folder now": lambda package: [(package / "names.txt").unlink(), (package / "names.txt").mkdir()],
    "a file in a folder that it listed": lambda package: (package / "suites/two.toml").write_text(""),
    "a module that comes first now": lambda package: (package.parent / "json.py").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_was_read_decides(package: Path, change: str) -> None:
    marks = watched(package)
    CHANGES[change](package)
    assert memo.changed(marks) is not None


def test_a_second_import_which_reads_compiled_files_names_the_sources(package: Path) -> None:
    first, second = watched(package), watched(package)
    assert first == second
    assert str(package / "inner.py") in second
    assert not [path for path in second if "__pycache__" in path]


def test_what_comes_and_goes_beside_changes_nothing(package: Path) -> None:
    marks = watched(package)
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "scratch").write_text("")
    (package / "scratch").unlink()
    assert memo.changed(marks) is None


def test_nothing_so_young_is_trusted(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "RACY_NS", 2_000_000_000)
    with memo.Watch() as watch:
        (package / "names.txt").read_text()
    assert watch.marks() is None


def test_a_relative_path_is_one_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("")
    with memo.Watch() as watch:
        Path("here.txt").read_text()
    assert {str(tmp_path / "here.txt"), str(tmp_path)} <= set(watch.marks() or {})


def test_what_is_written_decides_nothing(tmp_path: Path) -> None:
    with memo.Watch() as watch:
        (tmp_path / "out.txt").write_text("")
    assert str(tmp_path / "out.txt") not in watch.paths
    (tmp_path / "out.txt").read_text()
    assert str(tmp_path / "out.txt") not in watch.paths, "nobody watches any more"


def test_a_kept_value_is_that_of_its_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other = {"a": 1, "b": [None, "x"]}, {"a": 2}
    assert memo.recall("kind", key) is None
    memo.keep("kind", key, {"value": 1}, 8)
    assert memo.recall("kind", key) == {"value": 1}
    assert memo.recall("kind", other) is None
    assert memo.recall("another", key) is None
    [file] = (tmp_path / "cache/kind").iterdir()
    memo.keep("kind", other, {}, 8)
    [elsewhere] = {*(tmp_path / "cache/kind").iterdir()} - {file}
    os.replace(file, elsewhere)
    assert memo.recall("kind", other) is None, "a file under another's name"
    for text in ("", "[]", "{", json.dumps({"format": 0, "key": other, "value": 1})):
        elsewhere.write_text(text)
        assert memo.recall("kind", other) is None
    memo.keep("kind", key, {}, 8)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert memo.recall("kind", key) is None, "another user's file"


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        memo.keep("kind", number, number, 3)
        for file in (tmp_path / "cache/kind").iterdir():
            os.utime(file, ns=(file.stat().st_mtime_ns - 10**9,) * 2)
    assert [memo.recall("kind", number) for number in range(5)] == [None, None, 2, 3, 4]


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    memo.keep("kind", 1, 1, 3)
    assert memo.recall("kind", 1) is None


def test_the_situation_is_interpreter_path_user_and_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = memo.situation()
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setenv("SHLVL", "9")
    assert memo.situation() == here
    for change in (
        lambda: monkeypatch.setenv("KDBENCH_DATA_DIR", str(tmp_path)),
        lambda: monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path]),
        lambda: monkeypatch.setattr(sys, "executable", "/another/python"),
        lambda: monkeypatch.setattr(os, "getuid", lambda: 12345),
    ):
        before = memo.situation()
        change()
        assert memo.situation() != before


def test_a_tree_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "data/class").mkdir(parents=True)
    (tmp_path / "data-2").mkdir()
    (tmp_path / "data-2/x.png").write_text("")
    (tmp_path / "data/class/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/class/aside").symlink_to(tmp_path / "data-2")
    (tmp_path / "data/__pycache__").mkdir()
    found = [str(Path(path).relative_to(tmp_path)) for path in memo.tree(str(tmp_path / "data"))]
    assert found == ["data", "data/class", "data/class/aside", "data/class/aside/x.png", "data/class/up"]
    assert list(memo.tree(str(tmp_path / "nowhere"))) == [str(tmp_path / "nowhere")]


def test_it_is_light() -> None:
    code = "import sys, kdbench.memo; sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
