from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdbench.cli import data  # noqa: F401  # its commands
from kdbench.cli.app import app
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins


def test_status_of_every_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path))
    datasets = load_plugins().datasets
    arguments = ["data", "status", "--data-dir", str(tmp_path)]
    rows = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [row["name"] for row in rows] == list(datasets)
    states = {row["name"]: row["state"] for row in rows}
    assert states["digits"] == "available"  # it is embedded
    for name, state in states.items():
        if name not in ("digits", "digits-fonts"):
            assert state == ("can be fetched" if datasets.get(name).fetch else "missing")
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert f"looked in {tmp_path}; cache and downloads in {tmp_path}" in " ".join(shown.split())


def test_what_is_embedded_is_not_fetched() -> None:
    error = CliRunner().invoke(app, ["data", "fetch", "digits"]).exception
    assert isinstance(error, KdbenchError)
    assert "dataset 'digits' is not for download" in error.message
