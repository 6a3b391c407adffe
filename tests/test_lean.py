"""A default install beside other people's packages; run by ``tox -e lean``, in an environment of the wheel alone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif("KDBENCH_LEAN" not in os.environ, reason="wants an environment of the wheel alone: tox -e lean"),
    pytest.mark.skipif(sys.platform != "linux", reason="hides libraries as Linux finds them"),
]

HIDDEN = ("libGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0", "libxcb.so.1")
"""What a desktop brings and a server lacks."""
EXTRAS = {
    "torchattacks": "attacks", "robustbench": "zoo", "timm": "timm", "huggingface-hub": "hub", "pyarrow": "parquet",
    "tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb", "ray": "ray", "submitit": "slurm",
}  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which the hidden libraries can't be loaded: files that are none are found in their place."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    for name in HIDDEN:
        (folder / name).touch()
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


def python(bare: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=bare)


def test_the_libraries_are_hidden(bare: dict[str, str], tmp_path: Path) -> None:
    for name in HIDDEN:
        done = python(bare, tmp_path, "-c", f"import ctypes; ctypes.CDLL('{name}')")
        assert "file too short" in done.stderr


def test_the_installed_wheel_is_what_runs(bare: dict[str, str], tmp_path: Path) -> None:
    done = python(bare, tmp_path, "-c", "import kdbench; print(kdbench.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(sys.prefix)


def test_no_extra_is_here() -> None:
    named = {
        re.split(r"[^\w-]", text)[0] for text in importlib.metadata.requires("kdbench") or [] if "extra ==" in text
    }
    assert named == set(EXTRAS)
    here = {name.lower().replace("_", "-") for one in importlib.metadata.distributions() for name in [one.name]}
    assert not here & named


def test_somebodys_opencv_and_jupyterlab_are_as_they_were(bare: dict[str, str], tmp_path: Path) -> None:
    assert importlib.metadata.packages_distributions()["cv2"] == ["opencv-python-headless"]
    done = python(bare, tmp_path, "-c", "import cv2, numpy; print(cv2.Canny(numpy.eye(9, dtype='uint8'), 1, 2).shape)")
    assert done.stdout.strip() == "(9, 9)", done.stderr
    done = python(bare, tmp_path, "-m", "jupyter", "lab", "--version")
    assert done.returncode == 0, done.stderr


def test_doctor_finds_nothing_broken_and_names_each_extra(bare: dict[str, str], tmp_path: Path) -> None:
    done = python(bare, tmp_path, "-m", "kdbench", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = {one["name"]: one for one in json.loads(done.stdout)}
    for package, extra in EXTRAS.items():
        one = found[f"kdbench[{extra}]: {package}"]
        assert (one["status"], one["fix"]) == ("ok", "")
        assert one["found"] == f"not installed; `pip install 'kdbench[{extra}]'` brings it"


@pytest.mark.parametrize(
    ("asked", "who", "package"),
    [
        (("run", "--method", "ce", "--attack", "torchattacks:FGSM"), "attack family 'torchattacks'", "torchattacks"),
        (("describe", "attack", "torchattacks"), "attack family 'torchattacks'", "torchattacks"),
        (("run", "--method", "ce", "--suite", "webvision-mini-irv2"), "model 'inception-resnet-v2'", "timm"),
        (("run", "--method", "ce", "--track", "tensorboard"), "tracker 'tensorboard'", "tensorboard"),
        (("sweep", "--method", "ce", "--executor", "slurm"), "executor slurm", "submitit"),
    ],
)
def test_what_is_not_installed_is_named_before_anything_is_done(
    asked: tuple[str, ...], who: str, package: str, bare: dict[str, str], tmp_path: Path
) -> None:
    done = python(bare, tmp_path, "-m", "kdbench", *asked)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"{who} needs the package {package}, which is not installed" in said
    assert f"pip install 'kdbench[{EXTRAS[package]}]'" in said
    assert not (tmp_path / "runs").exists()


def test_what_the_wheel_lists_needs_no_extra(bare: dict[str, str], tmp_path: Path) -> None:
    for kind in ("attacks", "models", "suites", "methods"):
        done = python(bare, tmp_path, "-m", "kdbench", "list", kind, "--json")
        assert done.returncode == 0, done.stderr
    done = python(bare, tmp_path, "-m", "kdbench", "describe", "suite", "webvision-mini-irv2")
    assert done.returncode == 0, done.stderr


def test_autoattack_is_part_of_a_default_install(bare: dict[str, str], tmp_path: Path, tiny_suite: Path) -> None:
    asked = '[tasks.attack]\nconditions = ["clean"]\nsettings = { attacks = ["autoattack"], subset = 4 }\n'
    tiny_suite.write_text(tiny_suite.read_text() + asked)
    command = ("run", "--method", "ce", "--suite", str(tiny_suite), "--tasks", "attack", "--json")
    done = python(bare, tmp_path, "-m", "kdbench", *command)
    assert done.returncode == 0, done.stderr
    assert {score["task"] for score in json.loads(done.stdout)["scores"]} == {"attack"}


def test_the_main_job_runs(bare: dict[str, str], tmp_path: Path) -> None:
    done = python(bare, tmp_path, "-m", "kdbench", "run", "--method", "nrd", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "finished"
    assert (tmp_path / "runs/digits/nrd" / record["run_id"] / "record.json").is_file()
    assert {score["task"] for score in record["scores"]} == set(record["spec"]["tasks"])
    done = python(bare, tmp_path, "-m", "kdbench", "leaderboard", "export", "runs", "--to", "all.parquet")
    assert done.returncode == 2
    assert "pip install 'kdbench[parquet]'" in " ".join(done.stderr.split())
