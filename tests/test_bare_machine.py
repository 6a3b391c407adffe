"""The main job on a server without a desktop: none of its libraries, and no OpenCV, is ever loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN_JOB = """
import re, sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cv2", "imagecorruptions"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Refuses())
from kdbench.cli import main

try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
import torch
from kdbench.corruptions import NAMES, corrupt

for name in NAMES:
    corrupt(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), name, 1, generator=torch.Generator())
loaded = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
assert any("libtorch" in path for path in loaded)
print([path for path in loaded if re.search(r"/(libGL|libEGL|libX11|libglib|libgthread|libQt|cv2)", path)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is loaded is read from /proc")
def test_main_job_loads_nothing_of_a_desktop(tiny_suite: Path, tmp_path: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text() + "\n[tasks.corruption]\nsettings = { subset = 2 }\n")
    job = ["run", "--method", "ce", "--suite", str(tiny_suite), "--tasks", "clean,corruption"]
    done = subprocess.run(
        [sys.executable, "-c", MAIN_JOB, *job],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KDBENCH_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(tmp_path.glob("runs/tiny/ce/*/record.json"))


@pytest.mark.parametrize("folder", ["kdbench", "plugins"])
def test_no_module_imports_opencv(folder: str) -> None:
    for path in (Path(__file__).parents[1] / folder).rglob("*.py"):
        assert "cv2" not in path.read_text(), path
