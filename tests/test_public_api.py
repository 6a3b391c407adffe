from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kdbench

ROOT = Path(__file__).parent.parent
PLUGIN_FILES = sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])


def test_every_public_name_exists_and_is_listed() -> None:
    assert kdbench.__all__ == sorted(kdbench.__all__)
    for name in kdbench.__all__:
        assert getattr(kdbench, name) is not None
    assert set(dir(kdbench)) == set(kdbench.__all__)


def test_importing_kdbench_does_not_import_torch() -> None:
    code = "import sys, kdbench, kdbench.cli; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_nothing_but_the_public_api(path: Path) -> None:
    allowed = {"kdbench", *(f"kdbench.{name}" for name in kdbench.__all__)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or ""]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "kdbench":
            imported = [f"kdbench.{node.attr}"]
        else:
            continue
        private = [name for name in imported if name.split(".")[0] == "kdbench" and name not in allowed]
        assert not private, f"{path.name}, line {node.lineno}: {private}"


def test_the_core_never_names_a_method() -> None:
    names = {"nrd", "kd", "ce"}
    for path in (ROOT / "kdbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                literals = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                assert not names & {str(value) for value in literals}, f"{path}: line {node.lineno}"
