"""The image's steps: without Docker they are tried one by one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = [
    (keyword, rest.replace("\\\n", " "))
    for keyword, rest in re.findall(
        r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()), re.M
    )
]
ARGUMENTS = dict(rest.split("=", 1) for keyword, rest in STEPS if keyword == "ARG")


def copied(target: Path) -> None:
    """What the image has of the checkout, /src being the target."""
    for rest in (rest for keyword, rest in STEPS if keyword == "COPY"):
        *sources, place = shlex.split(rest)
        for source in sources:
            to = target / Path(place).relative_to("/src")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__", "_commit.json"))
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, to)


def test_what_is_copied_builds_a_whole_wheel_that_knows_its_commit(tmp_path: Path) -> None:
    copied(tmp_path / "src")
    [written] = [rest for keyword, rest in STEPS if keyword == "RUN" and "_commit.json" in rest]
    environment = {**os.environ, "COMMIT": "0123abc"}
    subprocess.run(["sh", "-ec", written.replace("/src", str(tmp_path / "src"))], env=environment, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run([*build, str(tmp_path / "src")], capture_output=True, text=True)
    if "No module named" in done.stderr or "hatchling" in done.stderr:
        pytest.skip("hatchling is not installed here")
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert json.loads(zipfile.ZipFile(wheel).read("kdbench/_commit.json")) == {"commit": "0123abc", "dirty": False}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kdbench").rglob("*.py")}
    ours |= {path.relative_to(ROOT / "plugins").as_posix() for path in (ROOT / "plugins").rglob("*.py")}
    assert ours <= set(names)


def test_its_extras_and_its_python_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(ARGUMENTS["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    [base] = [rest for keyword, rest in STEPS if keyword == "FROM"]
    python = re.match(r"python:(\d\.\d+)-", base)
    assert python and f"Programming Language :: Python :: {python[1]}" in project["classifiers"]
    assert STEPS[-2:] == [("ENTRYPOINT", '["kdbench"]'), ("CMD", '["--help"]')]


def test_it_is_built_where_docker_runs() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        pytest.skip("no Docker daemon here")
    subprocess.run([docker, "build", "-q", "-t", "kdbench-test", str(ROOT)], check=True)
    subprocess.run([docker, "run", "--rm", "kdbench-test", "list", "methods"], check=True)
