"""When the process of all nodes is forked from a command's."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from kdbench.plugin.before import Before
from kdbench.running.isolated import server
from kdbench.running.isolated.state import SWITCH


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bears it")
def test_threads_and_accelerators_are_in_the_way_of_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert server.bears_fork()
    with (tmp_path / "device").open("w"):
        monkeypatch.setattr(server, "ACCELERATORS", (str(tmp_path),))
        assert not server.bears_fork()
    assert server.bears_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert not server.bears_fork()


@pytest.mark.skipif(sys.platform == "win32", reason="no processes for nodes there")
def test_no_process_is_prepared_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Before, "action", None)
    monkeypatch.setenv(SWITCH, "off")
    server.prepare()
    assert Before.action is None
    monkeypatch.delenv(SWITCH)
    server.prepare()
    assert Before.action is not None
