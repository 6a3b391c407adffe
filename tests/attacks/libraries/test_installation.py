"""The traps of the third-party wheels, each simulated with real files and distribution metadata."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.distributions import write_distribution


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


def make_distribution(site: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """Metadata only, as if the wheel had been installed; the files are written by the caller."""
    folder = write_distribution(site, name, version=version)
    (folder / "RECORD").write_text("".join(record_line(path, content) for path, content in files.items()))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages folder that is all that importlib.metadata sees."""

    def distribution(name: str) -> importlib.metadata.Distribution:
        found = list(tmp_path.glob(f"{name}-*.dist-info"))
        if not found:
            raise importlib.metadata.PackageNotFoundError(name)
        return importlib.metadata.PathDistribution(found[0])

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    return tmp_path


NEW = {"robustbench/__init__.py": b"new", "robustbench/data.py": b"new data", "robustbench/eval.py": b"same"}
OLD = {"robustbench/__init__.py": b"old", "robustbench/data.py": b"old data", "robustbench/eval.py": b"same"}


@pytest.fixture
def wheels(site: Path) -> Callable[[dict[str, bytes]], None]:
    """Both distributions are installed; the caller says which files ended up on disk."""
    make_distribution(site, "robustbench", "1.1.1", NEW)
    make_distribution(site, "torchattacks", "3.5.1", OLD | {"torchattacks/__init__.py": b"x"})

    def put(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (site / name).parent.mkdir(exist_ok=True)
            (site / name).write_bytes(content)

    return put


def test_own_files_are_recognised(wheels: Any) -> None:
    wheels(NEW)
    files = installation.robustbench_files()
    assert (files.version, files.altered, files.from_torchattacks) == ("1.1.1", (), ())


def test_torchattacks_old_copy_is_recognised(wheels: Any) -> None:
    wheels(OLD)
    files = installation.robustbench_files()
    assert files.altered == ("robustbench/__init__.py", "robustbench/data.py")
    assert files.from_torchattacks == files.altered
    assert files.fix == "pip install --force-reinstall --no-deps robustbench==1.1.1"


def test_an_edited_and_a_missing_file_are_not_blamed_on_torchattacks(wheels: Any) -> None:
    wheels({"robustbench/__init__.py": b"edited", "robustbench/eval.py": b"same"})
    files = installation.robustbench_files()
    assert files.altered == ("robustbench/__init__.py", "robustbench/data.py")
    assert files.from_torchattacks == ()


def test_without_torchattacks_nothing_is_blamed_on_it(site: Path) -> None:
    make_distribution(site, "robustbench", "1.1.1", NEW)
    assert len(installation.robustbench_files().altered) == 3


def test_a_copy_in_place_is_refused_with_the_mending_command(wheels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels(OLD)
    monkeypatch.delitem(sys.modules, "robustbench", raising=False)
    with pytest.raises(KdbenchError, match="torchattacks' old copy") as caught:
        installation.robustbench()
    assert "pip install --force-reinstall --no-deps robustbench==1.1.1" in caught.value.hint


def test_a_copy_without_the_distribution_is_not_taken_for_robustbench(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(site, "torchattacks", "3.5.1", OLD)
    monkeypatch.delitem(sys.modules, "robustbench", raising=False)
    with pytest.raises(KdbenchError, match="model zoo needs the package robustbench, which is not installed") as caught:
        installation.robustbench()
    assert caught.value.hint == "`pip install 'kdbench[zoo]'`"


def blocked(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """None in sys.modules makes an import fail, as if nothing was installed."""
    for name in names:
        for loaded in [one for one in sys.modules if one.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)


def test_a_missing_module_is_answered_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked(monkeypatch, "torchattacks")
    with pytest.raises(KdbenchError, match="'torchattacks' needs the package torchattacks, which is not") as caught:
        installation.torchattacks()
    assert caught.value.hint == "`pip install 'kdbench[attacks]'`"


def test_a_missing_dependency_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyautoattack.py").write_text("import a_module_that_nobody_has\n")
    blocked(monkeypatch, "pyautoattack")
    monkeypatch.delitem(sys.modules, "pyautoattack")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KdbenchError, match="pyautoattack can't be imported") as caught:
        installation.autoattack()
    assert "it needs the module 'a_module_that_nobody_has'" in caught.value.hint


def test_the_warnings_of_an_import_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyautoattack.py").write_text("import warnings\nwarnings.warn('old', FutureWarning)\nAutoAttack = 1\n")
    blocked(monkeypatch, "pyautoattack")
    monkeypatch.delitem(sys.modules, "pyautoattack")
    monkeypatch.syspath_prepend(tmp_path)
    assert installation.autoattack().AutoAttack == 1


def test_stand_ins_are_there_only_while_robustbench_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    pyautoattack = pytest.importorskip("pyautoattack")
    absent = {"autoattack", "pkg_resources"}
    for name in absent:
        monkeypatch.delitem(sys.modules, name, raising=False)
    find = installation.importlib.util.find_spec
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    with installation._stand_ins():
        assert sys.modules["autoattack"] is pyautoattack
        assert sys.modules["autoattack.state"].EvaluationState is not None
        path = sys.modules["pkg_resources"].resource_filename("kdbench.attacks.libraries.installation", "sub/list.txt")
        assert Path(path) == Path(installation.__file__).parent / "sub" / "list.txt"
    assert not absent & set(sys.modules)
    assert "autoattack.state" not in sys.modules


def test_stand_ins_leave_the_real_modules_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = {name: types.ModuleType(name) for name in ("autoattack", "pkg_resources")}
    for name, module in real.items():
        monkeypatch.setitem(sys.modules, name, module)
    with installation._stand_ins():
        assert all(sys.modules[name] is module for name, module in real.items())
    assert all(sys.modules[name] is module for name, module in real.items())


def test_an_interrupted_import_leaves_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyautoattack")
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    find = installation.importlib.util.find_spec
    monkeypatch.setattr(
        installation.importlib.util, "find_spec", lambda name: None if name == "pkg_resources" else find(name)
    )
    with pytest.raises(RuntimeError, match="half way"), installation._stand_ins():
        raise RuntimeError("half way")
    assert "pkg_resources" not in sys.modules


def test_the_installed_wheels_import() -> None:
    """The published robustbench, with its files in place, imports and finds AutoAttack."""
    if installation.robustbench_files().altered:
        pytest.skip("torchattacks' copy of robustbench lies in this environment")
    module = installation.robustbench()
    assert module.__name__ == "robustbench"
    assert installation.robustbench() is module
    assert sys.modules["robustbench.eval"].AutoAttack is installation.autoattack().AutoAttack
    helper = "helper_files/imagenet_test_image_ids.txt"
    found = sys.modules["robustbench.loaders"].pkg_resources.resource_filename("robustbench.loaders", helper)
    assert Path(found).is_file()


def test_torchattacks_imports() -> None:
    assert hasattr(installation.torchattacks(), "PGD")
