"""Plugins that are installed for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kdbench.plugin.loader import load_plugins
from tests.distributions import write_distribution

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution with one plugin module on the path, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def put(name: str, source: str) -> None:
        write_distribution(tmp_path, name, {name: f"{name}_module"})
        (tmp_path / f"{name}_module.py").write_text(source)
        modules.append(f"{name}_module")
        load_plugins.cache_clear()

    yield put
    load_plugins.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)
