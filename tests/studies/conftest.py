from __future__ import annotations

import os
from pathlib import Path

import pytest

disturbed = pytest.mark.skipif(
    os.environ.get("KDBENCH_CLUSTERS") != "1", reason="minutes of killing on a real cluster: tox -e clusters"
)
"""Of tests that take a cluster apart while a study runs on it."""

SMALL = """
name = "small"
version = 1
title = "A few digits"
why = "Tests: a training takes a second."
dataset = "digits"
student = "wrn-10-1"
flip = false

[networks.teacher]
model = "wrn-10-1"
method = "ce"
seed = 1000

[recipe]
epochs = 2
batch_size = 20
lr = 0.03
augmentation = "crop"

[conditions.clean]
train_size = 100

[tasks.pgd]
settings = { subset = 10, every_restart = 10, steps = [1], restarts = 1 }
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A suite file whose runs take seconds."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path
