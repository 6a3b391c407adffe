from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import SMALL_SUITE

disturbed = pytest.mark.skipif(
    os.environ.get("KDBENCH_CLUSTERS") != "1", reason="minutes of killing on a real cluster: tox -e clusters"
)
"""Of tests that take a cluster apart while a study runs on it."""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A suite file whose runs take seconds."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL_SUITE)
    return path
