from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdbench import memo
from kdbench.errors import KdbenchError
from kdbench.plugin import catalogue as module
from kdbench.plugin.catalogue import Catalogue, catalogue
from kdbench.plugin.loader import load_plugins
from tests.plugin.conftest import Install

METHODS = """
from pathlib import Path

import kdbench
from {name}_help import words

@kdbench.hookimpl
def kdbench_register_methods():
    found = []
    for name in Path(__file__).with_name("{name}.txt").read_text().split() + words:
        @kdbench.method(name)
        def one(batch, ctx):
            "A method."
            return ctx.student(batch.images).square().mean()
        found.append(one)
    return found
"""


@pytest.fixture
def plugin(
    install: Install, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A plugin that reads the names of its methods from a file, and imports others; caches are private and empty."""
    monkeypatch.setattr(memo, "RACY_NS", -(10**15))
    monkeypatch.setattr(module, "_begun", lambda: False)
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("own-cache")))
    (tmp_path / "mine.txt").write_text("first-method")
    (tmp_path / "mine_help.py").write_text("words = []")
    install("mine", METHODS.format(name="mine"))
    return tmp_path


def in_a_new_process() -> Catalogue:
    """What a new process would find: the plugin is imported anew where it is loaded."""
    load_plugins.cache_clear()
    importlib.invalidate_caches()
    for name in ("mine_module", "mine_help"):
        sys.modules.pop(name, None)
    return catalogue()


def test_it_says_what_the_plugins_say(plugin: Path) -> None:
    made, kept = in_a_new_process(), in_a_new_process()
    assert made.news
    assert not kept.news
    assert made.installation == kept.installation != ""
    for found in (made, kept):
        for registry in load_plugins().registries():
            lines = found.registries[registry.kind]
            assert lines.names() == registry.names()
            assert [lines.origin(name) for name in lines] == [registry.origin(name) for name in registry]
            assert (lines.notes, lines.clashes()) == (registry.notes, registry.clashes())
        assert found.loaded == load_plugins().loaded
        assert found.registries["method"].get("first-method").summary == "A method."


def test_kept_names_load_nothing(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_new_process()
    monkeypatch.setattr("kdbench.plugin.loader.load_plugins", lambda: pytest.fail("loaded"))
    assert "first-method" in catalogue().registries["method"]


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a file it reads": lambda plugin, _: (plugin / "mine.txt").write_text("other-method"),
    "a module it imports": lambda plugin, _: (plugin / "mine_help.py").write_text("words = ['other-method']"),
    "its own code": lambda plugin, _: (plugin / "mine_module.py").write_text(
        METHODS.format(name="mine").replace("words:", "['other-method']:")
    ),
    "an environment variable": lambda plugin, patch: patch.setenv("MINE", "1"),
    "a module before another": lambda plugin, patch: [
        (plugin / "front").mkdir(),
        (plugin / "front/mine_help.py").write_text("words = ['other-method']"),
        patch.syspath_prepend(str(plugin / "front")),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stale_answer_is_impossible(plugin: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = in_a_new_process()
    CHANGES[change](plugin, monkeypatch)
    after = in_a_new_process()
    assert after.news
    assert after.installation != before.installation
    assert after.registries["method"].names() == load_plugins().methods.names()
    assert ("other-method" in after.registries["method"]) == (change != "an environment variable")


def test_a_plugin_that_comes_or_goes_is_seen(plugin: Path, install: Install) -> None:
    in_a_new_process()
    install("broken", "raise RuntimeError('no luck')")
    found = in_a_new_process()
    assert [failure["from"] for failure in found.failures] == ["broken 1.0"]
    with pytest.raises(KdbenchError, match="no method named 'firstmethod'.*did you mean 'first-method'.*no luck"):
        in_a_new_process().require("method", ["firstmethod"])
    shutil.rmtree(plugin / "broken-1.0.dist-info")
    assert not in_a_new_process().failures


def test_a_name_of_two_plugins_is_nobodys_here_too(plugin: Path, install: Install) -> None:
    install("twin", METHODS.format(name="mine"))
    for _ in range(2):
        with pytest.raises(KdbenchError, match="two plugins bring a method named 'first-method': 'mine 1.0' and 'twin"):
            in_a_new_process().require("method", ["first-method"])


def test_what_was_not_seen_whole_is_not_kept(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_begun", lambda: True)
    assert in_a_new_process().installation == ""
    assert in_a_new_process().news == "nothing was kept of this installation yet"


def test_a_suite_that_cannot_be_read_says_so_in_its_line(tmp_path: Path) -> None:
    summary: Any = module._summary
    (tmp_path / "bad.toml").write_text("name = ")
    assert "bad.toml is not TOML" in summary("suite", tmp_path / "bad.toml")
