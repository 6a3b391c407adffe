"""The reproductions that come with kdbench: each is looked up at each of its scales, and run at the smallest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.plugin.loader import load_plugins
from kdbench.reproducing import read_reproduction
from kdbench.reproducing.outcome import read_outcome
from kdbench.reproducing.planning import make_studies, plan_jobs

SHIPPED = list(load_plugins().reproductions)


@pytest.mark.parametrize("name", SHIPPED)
def test_everything_in_it_exists(name: str) -> None:
    plugins = load_plugins()
    item = read_reproduction(plugins.reproductions.get(name))
    assert item.id == name and item.known
    for scale, setting in item.scales.items():
        jobs = plan_jobs(item, scale, plugins)
        assert make_studies(item, scale, jobs, setting.seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_it_runs_at_smoke(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kdbench", "reproduce", name, "--scale", "smoke", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcome = read_outcome(tmp_path / "reproductions" / name / "smoke" / "reproduction.json")
    assert json.loads(done.stdout) == json.loads(outcome.model_dump_json())
    item = read_reproduction(load_plugins().reproductions.get(name))
    wanted = {(cell.row, cell.column) for cell in item.measured("smoke")}
    assert {(one.row, one.column) for one in outcome.numbers if one.value is not None} == wanted
    assert {one.verdict for one in outcome.numbers} <= {"not comparable", "not measured"}
    if item.figure is not None:
        assert (tmp_path / "reproductions" / name / "smoke" / "figure.png").exists()
