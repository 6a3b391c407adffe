"""Packages that are imported when they are asked for: what is missing is named with the command that brings it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from kdbench import packages
from kdbench.errors import KdbenchError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_what_is_installed_is_found_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there_it_lies.py").write_text("raise SystemExit('imported')")
    assert not packages.installed("there_it_lies")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.installed("there_it_lies")
    packages.require("anything", "there_it_lies", "")
    assert "there_it_lies" not in sys.modules


def test_what_is_missing_is_named_with_who_needs_it_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json", None)
    for module in ("a_module_that_nobody_has", "json"):
        with pytest.raises(KdbenchError) as caught:
            packages.load("tracker 'x'", module, packages.extra("x"))
        assert caught.value.message == f"tracker 'x' needs the package {module}, which is not installed"
        assert caught.value.hint == "`pip install 'kdbench[x]'`"


def test_warnings_of_an_import_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_package").mkdir()
    (tmp_path / "loud_package/__init__.py").write_text("import warnings; warnings.warn('old', FutureWarning)\n")
    (tmp_path / "loud_package/part.py").write_text("value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.load("x", "loud_package.part", "").value == 3


@pytest.mark.parametrize(
    ("lacks", "hint"),
    [
        ("import a_module_that_nobody_has", "it needs the module 'a_module_that_nobody_has': do this brings all"),
        ("from json import nothing_of_that_name", "do this"),
    ],
)
def test_a_package_that_fails_to_import(lacks: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"broken_package_{len(lacks)}"
    (tmp_path / f"{name}.py").write_text(lacks)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KdbenchError, match=f"^{name} can't be imported: ") as caught:
        packages.load("x", name, "do this")
    assert caught.value.hint.startswith(hint)


def test_every_extra_that_is_named_exists() -> None:
    said = set()
    ours = dict.fromkeys((ROOT / "kdbench").rglob("*.py"), "kdbench")  # "." is the user's own package there
    docs = dict.fromkeys([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"], r"(?:kdbench|\.)")
    for path, package in (ours | docs).items():
        text = path.read_text()
        said |= set(re.findall(r"packages\.extra\(['\"](\w+)['\"]\)", text))
        said |= {name for names in re.findall(rf"{package}\[([a-z,]+)\]", text) for name in names.split(",")}
    assert {"attacks", "zoo", "timm", "parquet"} <= said <= set(PROJECT["optional-dependencies"])


def test_a_default_install_brings_none_of_the_extras() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w-]", one)[0].lower() for one in requirements}

    brought = {name for extra in PROJECT["optional-dependencies"].values() for name in names(extra)}
    assert {"torchattacks", "robustbench", "timm"} <= brought
    assert not brought & names(PROJECT["dependencies"])
