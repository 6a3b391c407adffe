from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.distributions import write_distribution

HOME = Path(__file__).parents[1]
INTRUDER = "raise RuntimeError('imported from the working directory')"


@pytest.mark.parametrize("python_path", [f"{HOME}:{HOME / 'plugins'}", f"{HOME}:{HOME / 'plugins'}:"])
def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, python_path: str) -> None:
    (tmp_path / "rich.py").write_text(INTRUDER)
    (tmp_path / "intruder.py").write_text(INTRUDER)
    write_distribution(tmp_path, "intruder", {"intruder": "intruder"})
    environment = {**os.environ, "PYTHONPATH": python_path, "KDBENCH_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "kdbench", "plugins"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "intruder" not in done.stdout + done.stderr
    assert "kdbench" in done.stdout


def test_a_working_directory_that_is_named_counts(tmp_path: Path) -> None:
    (tmp_path / "known.py").write_text("found = True")
    code = "from kdbench.search_path import without_working_directory as f; f(); import known; print(known.found)"
    environment = {**os.environ, "PYTHONPATH": f"{HOME}:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr


def test_the_folder_of_an_editable_package_counts_where_one_works_in_it(tmp_path: Path) -> None:
    """As after ``pip install -e .``, which leaves a file that names the folder."""
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    project = tmp_path / "project"
    project.mkdir()
    (packages / "_editable_known.pth").write_text(str(project))
    (project / "known.py").write_text("found = True")
    code = "from kdbench.search_path import without_working_directory as f; f(); import known; print(known.found)"
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    python = tmp_path / "venv/bin/python"
    done = subprocess.run(
        [python, "-c", code], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
