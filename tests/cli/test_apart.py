"""Commands that measure, beside plugins which harm whatever shares a process with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.results.record import Record, read_record
from kdbench.running.runner import record_path, run
from tests.conftest import SMALL_SUITE
from tests.distributions import write_distribution

SOURCES = {
    "harm": """
import kdbench, kdbench.data.digits, os
kdbench.data.digits.SPLIT_SEED = 1
@kdbench.hookimpl
def kdbench_record_written(record, path):
    with open(os.environ["SEEN"], "a") as file:
        file.write(record.run_id)
""",
    "theirs": '''
import kdbench, os
class Half(kdbench.Task):
    """A task of a third party."""
    name = "half"
    version = 1
    shares = frozenset({"half"})
    def evaluate(self, predictor, data, ctx):
        if "DIES" in os.environ:
            os._exit(0)
        return [ctx.share("half", data.test.labels % 2 == 0)]
@kdbench.hookimpl
def kdbench_register_tasks():
    return [Half()]
''',
}
MODEL = """
from torch import nn
def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
"""


class Site:
    """Where they are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, source in SOURCES.items():
            write_distribution(folder, name, {name: f"{name}_plugin"})
            (folder / f"{name}_plugin.py").write_text(source)
        (folder / "some_model.py").write_text(MODEL)
        self.seen = folder / "seen.txt"

    def kdbench(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """The command beside them."""
        path = os.pathsep.join([str(self.folder), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path, "SEEN": str(self.seen), **more}
        environment.pop("KDBENCH_ISOLATION", None)
        command = [sys.executable, "-m", "kdbench", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, Path]:
    """The file of a suite, a record that was made without them, and its folder of runs."""
    folder = tmp_path_factory.mktemp("trained")
    suite = folder / "small.toml"
    suite.write_text(SMALL_SUITE.replace("epochs = 2", "epochs = 1"))
    return suite, run(str(suite), "ce", out=folder / "runs"), folder / "runs"


def test_evaluate_loads_what_it_needs_and_all_observers_hear_of_it(
    site: Site, trained: tuple[Path, Record, Path], tmp_path: Path
) -> None:
    suite, alone, _ = trained
    done = site.kdbench(
        "evaluate", "some_model:build", "--suite", suite, "--tasks", "half", "--out", tmp_path, "--json"
    )
    assert done.returncode == 0, done.stderr
    record = read_record(Path(json.loads(done.stdout)["record"]))
    loaded = record.provenance.plugins.values()
    assert "theirs 1.0" in loaded and "harm 1.0" not in loaded
    assert record.spec.datasets["digits"] == alone.spec.datasets["digits"]
    assert site.seen.read_text() == record.run_id


def test_a_task_that_ends_its_process_is_said(site: Site, trained: tuple[Path, Record, Path], tmp_path: Path) -> None:
    words = ("evaluate", "some_model:build", "--suite", trained[0], "--tasks", "half", "--out", tmp_path)
    done = site.kdbench(*words, DIES="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: nothing was measured: its process ended by itself, with exit status 0" in done.stderr


def test_a_mistake_is_said_once(site: Site, trained: tuple[Path, Record, Path], tmp_path: Path) -> None:
    done = site.kdbench("evaluate", "some_model:build", "--suite", trained[0], "--tasks", "quarter", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1 and "quarter" in done.stderr


def test_a_record_is_verified_as_alone(site: Site, trained: tuple[Path, Record, Path]) -> None:
    _, record, out = trained
    done = site.kdbench("leaderboard", "verify", record_path(record, out))
    assert done.returncode == 0, done.stdout + done.stderr
