"""Finished runs by what was asked for: one that is there already is found before torch, plugins and data are loaded.

A run's identity is its run id, which takes all of these to find. What was asked for names the same run again only while
everything that decides the id is as it was: the installation with all plugins (``kdbench.plugin.catalogue``), the
machine, the environment, the text of a suite of one's own, and the files that the data sets are read from. The record
itself must have the hash that it had.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import memo
from kdbench.results.headline import Headline
from kdbench.results.machine import hardware
from kdbench.results.record import Record, read_record
from kdbench.sealed import DamagedError

if TYPE_CHECKING:
    from kdbench.data import DataPlace
    from kdbench.plugin.catalogue import Catalogue
    from kdbench.running.plan import Plan
    from kdbench.specs import Suite

KIND = "answers"
MOST = 4096
"""Runs that are kept, at some 2 kB each."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """One run as it was asked for. Paths may be relative to the working folder."""

    suite: str
    """A registered name, or the path of a TOML file."""
    method: str
    seed: int
    params: Mapping[str, Any]
    changes: Mapping[str, Any]
    conditions: list[str] | None
    tasks: list[str] | None
    attacks: list[str] | None
    data_dir: Path | None
    device: str
    out: Path
    download: bool
    compile: bool
    timeout: float | None = None

    def key(self, situation: str) -> dict[str, Any] | None:
        """The same as JSON values, with the hash of a suite file and where it is asked; None where there is no file."""
        values = dataclasses.asdict(self) | {"out": _absolute(self.out), "data_dir": _absolute(self.data_dir)}
        values["situation"] = situation
        del values["timeout"]  # no part of the answer
        if self.suite.endswith(".toml"):
            try:
                values["suite"] = ["file", hashlib.sha256(Path(self.suite).read_bytes()).hexdigest()]
            except OSError:
                return None
        return values

    def words(self) -> list[str]:
        """The command that asks for it, without its seed."""
        from kdbench.plugin.parameters import as_assignments

        words = ["kdbench", "run", "--method", self.method, "--suite", self.suite]
        for assignment in as_assignments({**self.changes, **self.params}):
            words += ["--set", assignment]
        for flag, values in (("--condition", self.conditions), ("--attack", self.attacks)):
            words += [word for value in values or () for word in (flag, value)]
        words += [] if self.tasks is None else ["--tasks", ",".join(self.tasks)]
        words += [] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        return words if self.out == Path("runs") else [*words, "--out", str(self.out)]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A finished run that was found."""

    record: Record
    notes: list[str]
    """What is said of it whenever it is asked for."""
    headlines: Mapping[str, Headline | None]
    """Task to the score that stands for it, which only the task itself knows."""


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """The files that the data sets of a run are read from."""

    paths: list[str]
    mark: str
    """Hash of their names, sizes and times."""


def find(asked: Asked, installed: Catalogue) -> Answer | str:
    """The finished run that was asked for; where it can't be told without loading everything, why."""
    key = asked.key(installed.situation)
    kept = memo.recall(KIND, key) if key is not None else None
    if kept is None:
        return "it was not asked for in these words and this environment before"
    if not installed.installation or kept["installation"] != installed.installation:
        return f"the installation or its environment has changed{installed.news and ': '}{installed.news}"
    if kept["machine"] != hardware():
        return "this is another machine"
    if _mark(kept["data"]["paths"]) != kept["data"]["mark"]:
        return "files of its data sets have changed"
    file = Path(kept["record"])
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != kept["sha256"]:
            return "its record has changed"
    except OSError:
        return "its record is not where it was"
    headlines = {task: None if one is None else Headline.of_dict(one) for task, one in kept["headlines"].items()}
    try:
        return Answer(read_record(file), kept["notes"], headlines)
    except DamagedError:
        return "its folder is damaged"


def data_files(plan: Plan, place: DataPlace) -> DataFiles | None:
    """The files that a run reads its data from, as they are now: to be asked before they are read.

    None where a data set or a label noise does not say (``files`` of its specification), where a suite names a file of
    labels by a path, which may start in the folder of the suite's file, or where a file is too young to be known again.
    """
    outside = [name for task, settings in plan.tasks.values() for name in task.outside(settings)]
    specs: list[Any] = list(map(plan.plugins.datasets.find, [plan.suite.dataset, *plan.suite.ood, *outside]))
    for noise in (plan.suite.condition(name).noise for name in plan.params):
        kind = None if noise is None else plan.plugins.label_noises.get(noise.kind)
        if noise is not None and noise.path is not None:
            return None
        specs += [kind] if kind is not None and kind.read is not None else []
    paths = _published(plan.suite, place)
    for spec in specs:
        if spec is None or spec.files is None:
            return None
        try:
            paths += [os.path.abspath(path.expanduser()) for path in spec.files(place)]
        except (Exception, SystemExit):  # a third party's, and nobody's run must fail for it
            return None
    paths = list(dict.fromkeys(paths))
    mark = _mark(paths)
    return None if mark is None else DataFiles(paths, mark)


def keep(
    asked: Asked, installed: Catalogue, data: DataFiles | None, file: Path, notes: list[str],
    headlines: Mapping[str, Headline | None],
) -> None:  # fmt: skip
    """Keep that a run is finished, where all that decides it is known.

    Args:
        data: what ``data_files`` said before the run read its data.
        file: its record.
        notes: what is said of it whenever it is asked for.
        headlines: as of ``Answer``.
    """
    key = asked.key(installed.situation)
    if key is None or not installed.installation or data is None:
        return
    value = {
        "installation": installed.installation,
        "machine": hardware(),
        "data": dataclasses.asdict(data),
        "record": _absolute(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "notes": notes,
        "headlines": {task: None if one is None else one.to_dict() for task, one in headlines.items()},
    }
    memo.keep(KIND, key, value, MOST)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else os.path.abspath(path.expanduser())


def _mark(paths: list[str]) -> str | None:
    """A hash of names, sizes and times of everything at and below these paths; None where something is too young."""
    since = memo.now()
    try:
        marks = {one: memo.mark(one) for path in paths for one in memo.tree(path)}
    except OSError:  # a folder that can't be read
        return None
    return None if memo.too_young(marks.values(), since) else memo.digest(marks)


def _published(suite: Suite, place: DataPlace) -> list[str]:
    from kdbench.corruptions.published import published_folder

    folder = published_folder(place.data_dir, suite.dataset)
    return [] if folder is None else [os.path.abspath(folder)]
