"""A published table of ours on ``digits``, whose records are made up, and its place among the installed ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.plugin.loader import load_plugins
from kdbench.plugin.registry import Registry

TABLE = """
paper = "A paper, 2026"
title = "A table"
known = ["It is made up."]

[cell]
task = "clean"
metric = "accuracy"
condition = "clean"
tolerance = 0.5

[columns.accuracy]
[columns.PGD-20]
task = "pgd"
metric = "conditional_accuracy"
setting = { variant = "pgd-std", steps = 20, rule = "worst" }
tolerance = 3.0

[rows.weak]
method = "ce"
published = [80.0, "-"]

[rows.strong]
method = "kd"
published = [95.0, 40.0]

[rows.alike]
method = "gce"
published = [80.2, 10.0]

[[expectations]]
first = ["strong", "PGD-20"]
second = ["alike", "PGD-20"]
relation = "higher"
says = "Section 1"

[scales.full]
suite = "digits"
seeds = "0-1"

[scales.smoke]
suite = "digits"
"""

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a file as ``<paper>/<item>.toml`` and install it alone; gives its path."""

    def write(text: str = TABLE, item: str = "table1") -> Path:
        path = tmp_path / "ours" / f"{item}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        registry: Registry[Path] = Registry("reproduction")
        registry.add(f"ours/{item}", path, "a plugin")
        monkeypatch.setattr(load_plugins(), "reproductions", registry)
        return path

    return write
