"""The tiny suite's graph, and the installed plugins with methods that train in stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import kdbench
from kdbench.data import DataPlace, digits
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.suites import load_suite
from tests.running.stages import Copies, Peers, follow

MakeGraph = Callable[..., RunGraph]


@pytest.fixture
def make_graph(tiny_suite: Path, tmp_path: Path) -> MakeGraph:
    """Graphs of the tiny suite at one epoch, with replacements in its text, over one folder."""

    def make(*edits: tuple[str, str], plugins: Plugins | None = None, out: Path = tmp_path / "runs") -> RunGraph:
        text = tiny_suite.read_text().replace("epochs = 3", "epochs = 1")
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "edited.toml"
        path.write_text(text)
        options = RunOptions(DataPlace.default(), torch.device("cpu"), out)
        return RunGraph(load_suite(str(path)), digits.load(options.place), plugins or load_plugins(), options)

    return make


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plugins:
    """The installed plugins and three methods: ``peers`` trains two networks after one of its own; ``follow`` needs
    that and the suite's teacher; ``copies`` goes on from one of two peers with dropout."""
    plugins = load_plugins.__wrapped__()
    (tmp_path / "recipes.toml").write_text("[[peers]]\nextended = { epochs = 4 }\n")
    peers = kdbench.method(
        "peers", needs={"start": kdbench.Network("student", epochs_share=0.4)}, recipes=tmp_path / "recipes.toml"
    )
    plugins.methods.add("peers", peers(Peers), "test")
    needs = {"peers": kdbench.Network("student", "peers"), "guide": "teacher"}
    plugins.methods.add("follow", kdbench.method("follow", needs=needs)(follow), "test")
    pair = {"pair": kdbench.Network("student", "peers", dropout=0.1)}
    plugins.methods.add("copies", kdbench.method("copies", needs=pair)(Copies), "test")
    monkeypatch.setattr("kdbench.running.runner.load_plugins", lambda: plugins)
    return plugins
