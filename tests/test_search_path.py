from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
INTRUDER = "raise RuntimeError('imported from the working directory')"


@pytest.mark.parametrize("python_path", [f"{HOME}:{HOME / 'plugins'}", f"{HOME}:{HOME / 'plugins'}:"])
def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, python_path: str) -> None:
    (tmp_path / "rich.py").write_text(INTRUDER)
    (tmp_path / "intruder.py").write_text(INTRUDER)
    info = tmp_path / "intruder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: intruder\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdbench]\nintruder = intruder\n")
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
