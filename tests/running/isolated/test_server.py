"""When the process of all nodes is forked from a command's."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from kdbench.running.isolated import server


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
