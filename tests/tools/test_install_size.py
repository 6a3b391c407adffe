"""What an install brings is followed through requirements and extras, and counted from files."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.distributions import write_distribution
from tools.install_size import brought, size


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages folder with four distributions, each of one module."""
    requires = {
        "app": ["Lib-One[fast]>=1", "nowhere; sys_platform == 'nowhere'", "unused; extra == 'more'"],
        "lib_one": ["base", "speed; extra == 'fast'"],
        "speed": ["base"],
        "base": [],
    }
    for name, wanted in requires.items():
        (tmp_path / f"{name}.py").write_text("x" * len(name))
        info = write_distribution(tmp_path, name, requires=wanted)
        (info / "RECORD").write_text(f"{name}.py,,\n{name}.pyc,,\ngone.py,,\n")
        (tmp_path / f"{name}.pyc").write_text("compiled")

    def distribution(name: str) -> importlib.metadata.Distribution:
        return PathDistribution(tmp_path / f"{name.lower().replace('-', '_')}-1.0.dist-info")

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    return tmp_path


def test_what_is_required_is_followed_and_counted(site: Path) -> None:
    assert {name: size(one) for name, one in brought("app").items()} == {
        "app": 3, "lib-one": 7, "speed": 5, "base": 4,
    }  # fmt: skip


def test_an_extra_that_nobody_asks_for_brings_nothing(site: Path) -> None:
    assert set(brought("lib_one")) == {"lib-one", "base"}
