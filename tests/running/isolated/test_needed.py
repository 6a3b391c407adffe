"""Which distributions the process of a run or a training loads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kdbench.plugin.loader import Failure, Plugins, load_plugins
from kdbench.running.isolated.needed import of_run, of_training
from kdbench.running.isolated.runs import plugins_apart
from kdbench.running.isolated.state import SWITCH, Process
from kdbench.running.plan import Plan
from kdbench.suites import load_suite
from tests.running.conftest import MakeGraph

THEIRS = {"mine:mine": "mine 1.0", "nets:nets": "nets 2.0", "idle:idle": "idle 1.0"}


@pytest.fixture
def theirs() -> Plugins:
    """The installed plugins, with a method of ``mine``, an architecture and an attack of ``nets``, and ``idle``."""
    plugins = load_plugins.__wrapped__()
    plugins.loaded |= THEIRS
    kd = plugins.methods.get("kd")
    plugins.methods.add("mine", dataclasses.replace(kd, name="mine"), "mine 1.0")
    plugins.methods.add("unpacked", dataclasses.replace(kd, name="unpacked"), "a notebook")
    net = plugins.models.get("wrn-10-1")
    plugins.models.add("net", dataclasses.replace(net, name="net"), "nets 2.0")
    return plugins


def plan(plugins: Plugins, suite: Path, method: str) -> Plan:
    return Plan.make(load_suite(str(suite)), plugins, method, {}, ["clean"], ["clean"])


def test_a_run_needs_what_it_names(theirs: Plugins, tiny_suite: Path) -> None:
    assert of_run(plan(theirs, tiny_suite, "kd"), ()) == []
    assert of_run(plan(theirs, tiny_suite, "mine"), ()) == ["mine"]
    tiny_suite.write_text(tiny_suite.read_text().replace('student = "wrn-10-1"', 'student = "net"'))
    assert of_run(plan(theirs, tiny_suite, "kd"), ()) == ["nets"]
    assert of_run(plan(theirs, tiny_suite, "mine"), ()) == ["mine", "nets"]


def test_a_teacher_needs_nothing_of_the_method_that_shares_it(theirs: Plugins, make_graph: MakeGraph) -> None:
    graph = make_graph(plugins=theirs)
    student = graph.lineage(graph.student("clean", "mine", {}, 0))
    assert of_training(theirs, student) == ["mine"]
    assert of_training(theirs, student.needs["teacher"]) == []


def test_where_a_run_is_done(theirs: Plugins, tiny_suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH)
    assert plugins_apart(plan(theirs, tiny_suite, "kd"), ()) == []
    assert plugins_apart(plan(theirs, tiny_suite, "mine"), ()) == ["mine"]
    assert plugins_apart(plan(theirs, tiny_suite, "unpacked"), ()) is None, "no process finds it"
    monkeypatch.setattr(Process, "node", "mine, seed 0")
    assert plugins_apart(plan(theirs, tiny_suite, "mine"), ()) == ["mine"], "more is loaded here than it needs"
    theirs.loaded = {name: origin for name, origin in theirs.loaded.items() if origin not in ("nets 2.0", "idle 1.0")}
    assert plugins_apart(plan(theirs, tiny_suite, "mine"), ()) is None, "this is its process"
    monkeypatch.setenv(SWITCH, "off")
    assert plugins_apart(plan(theirs, tiny_suite, "kd"), ()) is None


def test_only_ours_are_loaded_or_one_was_left_out(tiny_suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH)
    plugins = load_plugins.__wrapped__()
    assert plugins_apart(plan(plugins, tiny_suite, "kd"), ()) is None
    plugins.failures.append(Failure("bad", "bad 1.0", "SharedStateError"))
    assert plugins_apart(plan(plugins, tiny_suite, "kd"), ()) == [], "its code ran when it was imported"
