"""The tutorial, typed as it stands: every block in its order, but those whose comment says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.results.record import read_record
from tests.commands import typed
from tests.distributions import write_distribution
from tests.docs.blocks import ROOT, blocks

TUTORIAL = blocks(ROOT / "docs/tutorial.md")


def test_what_is_not_run_is_what_installs_or_is_tested_elsewhere() -> None:
    last = [block.code.split()[-1] for block in TUTORIAL if block.why_not]
    assert last == [".", "page", "my_method", "check_method(heated)"]
    assert len(TUTORIAL) > 10


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bin"
    folder.mkdir()
    with typed(folder):
        yield folder


def test_the_tutorial_can_be_followed(programs: Path, tmp_path: Path) -> None:
    package = tmp_path / "my_method"
    package.mkdir()
    path = os.pathsep.join([str(package), *filter(None, sys.path)])
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
    for block in TUTORIAL:
        if named := re.match(r"# (my_method/[\w.]+)\n", block.code):
            (tmp_path / named[1]).write_text(block.code)
            if block.kind == "toml":  # what installing it writes
                entry = re.search(r'^my-method = "(\w+)"$', block.code, re.M)
                assert entry is not None
                write_distribution(package, "my-method", {"my-method": entry[1]})
        elif not block.why_not:
            command = {"bash": ["bash", "-euc"], "python": [sys.executable, "-c"]}[block.kind]
            done = subprocess.run(
                [*command, block.code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            if "kdbench plugins" in block.code:
                assert "my-method" in done.stdout
            if "compare" in block.code:
                assert "heated" in done.stdout
    records = [read_record(path) for path in (tmp_path / "runs").rglob("record.json")]
    assert {record.spec.method for record in records} == {"ce", "heated"}
    assert (tmp_path / "site/index.html").is_file()
