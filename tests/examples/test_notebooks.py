"""Each notebook runs from top to bottom in a kernel of its own, and is committed without outputs."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


def executed(notebook: nbformat.NotebookNode, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel that works in a folder and finds this checkout's kdbench."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "plugins")]))
    monkeypatch.setenv("PATH", os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    return NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells), "committed with outputs: clear them"
    executed(notebook, tmp_path, monkeypatch)
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "error:" not in printed.lower() and "not found" not in printed  # of a command behind "!"
    assert any(cell.outputs for cell in cells)
    assert list((tmp_path / "runs").rglob("record.json"))


def test_behind_an_exclamation_mark_a_study_draws_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython gives the command a terminal, with colours, of which the notebook shows each redrawn line once more."""
    code = (
        "import sys; from kdbench.studies.show import *; print(sys.stderr.isatty(), has_tables(Console(stderr=True)))"
    )
    cell = nbformat.v4.new_code_cell(f'!{sys.executable} -c "{code}"')
    executed(nbformat.v4.new_notebook(cells=[cell]), tmp_path, monkeypatch)
    assert "".join(output.get("text", "") for output in cell.outputs).split() == ["True", "False"]
