"""Runs that are killed, damaged and refused, and the table of what came of it.

The normal run tries a share of each fault. `tox -e faults` tries all, and writes the counts to tools/data/faults.json,
of which docs/reliability.md is made.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kdbench.results.integrity import Count, Finding, verify
from tests.conftest import SMALL_SUITE

RESULTS = Path(__file__).parents[2] / "tools/data/faults.json"
MOST = int(os.environ.get("KDBENCH_FAULTS", "0"))
"""Tries of each fault in a campaign, 0 in the normal run."""
ALL = MOST > 0
SUITE = SMALL_SUITE.partition("[tasks.")[0] + "[tasks.clean]\n"
Item = TypeVar("Item")
Row = Callable[..., None]
Do = Callable[..., dict[str, Any]]


def share(items: Sequence[Item], most: int) -> list[Item]:
    """At most ``most`` of them, ``MOST`` in a campaign, drawn anew by each run, alike in its processes. The
    seed is printed."""
    most = MOST or most
    if len(items) <= most:
        return list(items)
    seed = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(2**32)
    print(f"share of {most} of {len(items)} drawn with seed {seed}")
    return random.Random(seed).sample(items, most)


@pytest.fixture(scope="session")
def _rows() -> Iterator[dict[str, dict[str, int | str]]]:
    rows: dict[str, dict[str, int | str]] = {}
    yield rows
    if ALL and rows:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps({**kept, **rows}, indent=1, sort_keys=True) + "\n")


@pytest.fixture
def row(_rows: dict[str, dict[str, int | str]]) -> Row:
    """Count one try of a fault: ``lost`` where something that was finished is gone or no result came, ``changed``
    where a bit of a result is another one."""

    def count(fault: str, expected: str, *, lost: bool, changed: bool) -> None:
        kept = _rows.setdefault(fault, {"expected": expected, "tries": 0, "losses": 0, "changed": 0})
        for name, more in (("tries", 1), ("losses", int(lost)), ("changed", int(changed))):
            kept[name] = int(kept[name]) + more

    return count


@pytest.fixture(scope="session")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    place = tmp_path_factory.mktemp("faults")
    suite = place / "small.toml"
    suite.write_text(SUITE.replace('"wrn-10-1"', '"tiny"'))
    command = [sys.executable, "-m", "tests.faults.process", str(suite)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running, place
        assert running.stdin is not None
        running.stdin.close()


@pytest.fixture
def do(_process: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> Do:
    """One run under ``out``, perhaps killed ``at`` its n-th write, or refused by the system from there on."""
    running, place = _process

    def run(out: Path = tmp_path / "runs", **job: Any) -> dict[str, Any]:
        assert running.stdin is not None and running.stdout is not None
        whole = {"out": str(out), "suite": str(place / "small.toml"), "words": str(place / "words.txt"), **job}
        running.stdin.write(json.dumps(whole) + "\n")
        running.stdin.flush()
        found: dict[str, Any] = json.loads(running.stdout.readline())
        return found

    return run


@pytest.fixture(scope="session")
def _whole(_process: tuple[subprocess.Popen[str], Path]) -> dict[str, Any]:
    return {}


@pytest.fixture
def whole(_whole: dict[str, Any], do: Do, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run comes to that nothing happens to, ``out``: where it lies; and ``again``: writes of a fresh one."""
    if not _whole:
        out = tmp_path_factory.mktemp("whole") / "runs"
        _whole.update(do(out), out=out)
        assert _whole["status"] == "finished", _whole
    return _whole


def same(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether a run ended with the same scores and the same bits of its networks."""
    return bool(found.get("scores") == whole["scores"] and found.get("checkpoint") == whole["checkpoint"])


def findings(out: Path) -> list[Finding]:
    """Of `kdbench doctor --verify`."""
    return list(verify(out, Count())) if out.exists() else []
