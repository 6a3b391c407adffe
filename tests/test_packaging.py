"""The built wheel outside the checkout, and a third party's package installed beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pip_install(target: Path, what: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    done = subprocess.run([*command, str(target), str(what)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = out.glob("kdbench-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    pip_install(site, wheel)
    return site


def head() -> str | None:
    """The commit of this checkout, None where it is none."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if (ROOT / ".git").exists() else None


def run_there(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line from another directory, with the installed copy before everything else."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "kdbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_wheel_carries_data_files_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("kdbench/suites/digits.toml", "kdbench_nrd/recipes.toml", "kdbench_baselines/__init__.py"):
        assert needed in names
    for needed in ("frost.png", "frost.png.license", "frost_64.png", "frost_64.png.license"):
        assert f"kdbench/corruptions/{needed}" in names
    for needed in ("templates/base.html.j2", "static/table.js", "static/style.css"):
        assert f"kdbench/leaderboard/site/{needed}" in names
    assert not [name for name in names if name.startswith(("tests", "tools", "examples", "leaderboards"))]


def test_the_wheel_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = "import kdbench, kdbench_nrd; print(kdbench.__file__, kdbench_nrd.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", where], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    ).stdout.split()
    assert all(Path(path).is_relative_to(installed) for path in found)
    suite = tmp_path / "tiny.toml"
    from tests.conftest import TINY_SUITE

    suite.write_text(TINY_SUITE)
    done = run_there(
        installed, tmp_path, "run", "--method", "nrd", "--suite", "tiny.toml", "--tasks", "clean", "--json"
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["provenance"]["kdbench_commit"] == head()
    assert (tmp_path / "runs/tiny/nrd" / record["run_id"] / "record.json").exists()
    assert "digits" in run_there(installed, tmp_path, "list", "suites").stdout


def test_the_example_plugin_installs_and_runs(installed: Path, tmp_path: Path, tiny_suite: Path) -> None:
    site = tmp_path / "site"
    pip_install(site, ROOT / "examples/kdbench-focal-loss")
    path = f"{site}{os.pathsep}{installed}"
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "kdbench", "run", "--method", "focal-loss", "--set", "gamma=3"]
    command += ["--suite", str(tiny_suite), "--tasks", "clean,noisy_label", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["params_passed"] == {"gamma": 3.0}
    assert "kdbench-focal-loss 0.1.0" in record["provenance"]["plugins"].values()
    own_test = ROOT / "examples/kdbench-focal-loss/tests"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(own_test),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
