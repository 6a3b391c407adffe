"""Finished runs by what was asked for: an answer stands while nothing that decides it has changed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdbench import memo
from kdbench.data import DataPlace
from kdbench.plugin.catalogue import Catalogue
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.headline import headline_of
from kdbench.running import answers
from kdbench.running.answers import Answer, Asked
from kdbench.running.plan import Plan
from kdbench.suites import load_suite
from tests.leaderboard.evidence import make

HERE = Catalogue({}, {}, [], "an installation", "", "a situation")


@dataclasses.dataclass
class Kept:
    """A run that was asked for, its record, and its data."""

    asked: Asked
    file: Path
    folder: Path


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A finished run whose answer is kept."""
    monkeypatch.setattr(memo, "RACY_NS", -(10**15))
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "data/pets"
    (folder / "train/cat").mkdir(parents=True)
    (folder / "train/cat/one.png").write_bytes(b"one")
    suite = tmp_path / "mine.toml"
    suite.write_text("a = 1")
    run = make()
    file = run.keep(tmp_path / "runs")
    asked = Asked(
        suite=str(suite), method="ce", seed=0, params={}, changes={}, conditions=None, tasks=None, attacks=None,
        data_dir=tmp_path / "data", device="auto", out=tmp_path / "runs", download=True, compile=True,
    )  # fmt: skip
    suite_of_it = run.record.spec.suite
    headlines = {task: headline_of(suite_of_it, task) for task in suite_of_it.tasks}
    mark = answers._mark([str(folder), str(tmp_path / "data/other")])
    assert mark is not None
    data = answers.DataFiles([str(folder), str(tmp_path / "data/other")], mark)
    answers.keep(asked, HERE, data, file, ["note: it is so"], headlines)
    return Kept(asked, file, folder)


def test_the_record_its_notes_and_headlines_are_found(kept: Kept) -> None:
    found = answers.find(kept.asked, HERE)
    assert isinstance(found, Answer)
    assert found.record == make().record
    assert found.notes == ["note: it is so"]
    suite = found.record.spec.suite
    assert found.headlines == {task: headline_of(suite, task) for task in suite.tasks}
    assert found.headlines["pgd"] is not None


@pytest.mark.parametrize(
    "change",
    [
        {"method": "kd"}, {"seed": 1}, {"params": {"alpha": 0.5}}, {"changes": {"recipe.epochs": 1}},
        {"conditions": ["clean"]}, {"tasks": ["clean"]}, {"tasks": []}, {"attacks": ["pgd"]}, {"device": "cpu"},
        {"data_dir": None}, {"data_dir": Path("/elsewhere")}, {"out": Path("/elsewhere")}, {"download": False},
        {"compile": False}, {"suite": "digits"}, {"suite": "/nowhere.toml"},
    ],
    ids=str,
)  # fmt: skip
def test_another_request_is_another_run(kept: Kept, change: dict[str, Any]) -> None:
    assert isinstance(answers.find(dataclasses.replace(kept.asked, **change), HERE), str)


def test_every_word_of_a_request_counts(kept: Kept) -> None:
    key = kept.asked.key("here")
    assert key is not None
    assert {field.name for field in dataclasses.fields(Asked)} - {"timeout"} <= key.keys()


CHANGES: dict[str, tuple[Callable[[Kept], object], str]] = {
    "an image, of the same size": (lambda k: (k.folder / "train/cat/one.png").write_bytes(b"two"), "data sets"),
    "one more image": (lambda k: (k.folder / "train/cat/two.png").write_bytes(b""), "data sets"),
    "an image less": (lambda k: (k.folder / "train/cat/one.png").unlink(), "data sets"),
    "data that were not there": (lambda k: (k.folder.parent / "other").mkdir(), "data sets"),
    "its record": (lambda k: k.file.write_text(k.file.read_text() + " "), "record has changed"),
    "no record": (lambda k: k.file.unlink(), "record is not where it was"),
    "another suite file": (lambda k: Path(k.asked.suite).write_text("a = 2"), "not asked for"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_it_may_not_change(kept: Kept, change: str) -> None:
    act, reason = CHANGES[change]
    act(kept)
    found = answers.find(kept.asked, HERE)
    assert isinstance(found, str)
    assert reason in found


def test_a_suite_file_may_lie_elsewhere(kept: Kept, tmp_path: Path) -> None:
    copy = tmp_path / "copy.toml"
    copy.write_text("a = 1")
    assert isinstance(answers.find(dataclasses.replace(kept.asked, suite=str(copy)), HERE), Answer)


def test_another_installation_machine_or_environment_finds_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(HERE, installation="another", news="/x/y.py has changed")
    assert "/x/y.py has changed" in str(answers.find(kept.asked, other))
    assert isinstance(answers.find(kept.asked, dataclasses.replace(HERE, installation="")), str), "not known for sure"
    with monkeypatch.context() as patch:
        patch.setattr("kdbench.results.machine.processor", lambda: "another processor")
        assert answers.find(kept.asked, HERE) == "this is another machine"
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5, 6, 7, 8}, raising=False)
        assert answers.find(kept.asked, HERE) == "this is another machine"
    assert isinstance(answers.find(kept.asked, HERE), Answer)
    elsewhere = dataclasses.replace(HERE, situation="another environment")
    assert "environment" in str(answers.find(kept.asked, elsewhere))


def test_nothing_is_kept_that_is_not_known_for_sure(kept: Kept, tmp_path: Path) -> None:
    asked = dataclasses.replace(kept.asked, seed=5)
    data = answers.DataFiles([], "")
    answers.keep(asked, dataclasses.replace(HERE, installation=""), data, kept.file, [], {})
    answers.keep(asked, HERE, None, kept.file, [], {})
    answers.keep(dataclasses.replace(asked, suite="/nowhere.toml"), HERE, data, kept.file, [], {})
    assert len(list((tmp_path / "cache/answers").iterdir())) == 1


def plan(plugins: Plugins, suite: str = "cifar10-lite", tasks: list[str] | None = None) -> Plan:
    return Plan.make(load_suite(suite), plugins, "ce", {}, None, tasks)


def test_the_files_of_all_data_sets_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "RACY_NS", -(10**15))
    place = DataPlace(tmp_path / "data", tmp_path / "cache")
    found = answers.data_files(plan(load_plugins()), place)
    assert found is not None
    below = {Path(path).relative_to(tmp_path).as_posix() for path in found.paths}
    assert {
        "data/cifar-10-batches-py",
        "data/cifar10",
        "data/ood_imagenet",
        "data/CINIC-10",
        "data/CIFAR-10-C",
    } <= below
    assert "cache/downloads/cifar-10-batches-py" in below
    (tmp_path / "data/ood_imagenet").mkdir(parents=True)
    later = answers.data_files(plan(load_plugins()), place)
    assert later is not None
    assert later.mark != found.mark, "a better set out of distribution has come"


@pytest.mark.parametrize("files", [None, lambda place: 1 / 0])
def test_a_data_set_that_does_not_say_its_files_is_read(files: Any, tmp_path: Path) -> None:
    plugins = Plugins(load_plugins().manager)
    for name in (field.name for field in dataclasses.fields(Plugins) if field.name not in ("manager", "datasets")):
        setattr(plugins, name, getattr(load_plugins(), name))
    for name in load_plugins().datasets:
        spec = load_plugins().datasets.get(name)
        plugins.datasets.add(name, dataclasses.replace(spec, files=files) if name == "cifar10" else spec, "test 1")
    assert answers.data_files(plan(plugins), DataPlace(None, tmp_path)) is None


def test_young_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "data/cifar10").mkdir(parents=True)
    assert answers.data_files(plan(load_plugins()), DataPlace(tmp_path / "data", tmp_path)) is None
