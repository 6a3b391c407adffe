"""What a record says of the code that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kdbench.running import provenance

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_a_checkout_tells_its_commit_and_whether_it_was_changed() -> None:
    provenance.commit.cache_clear()
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    assert provenance.commit() == (git("rev-parse", "HEAD"), changed)
