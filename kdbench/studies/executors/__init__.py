"""Engines that work a study off, found by name: each is a module of its own, imported when it is asked for.

A module has ``check_settings(settings)``, which raises ``KdbenchError`` for a table ``[engine.<name>]`` that it can't
take, and ``make(folder, study, options)``, which gives an ``Executor``. Both say which package is missing. One with a
queue has ``queued(folder)``: what it says of each node, by key.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from kdbench.errors import KdbenchError, unknown_name

if TYPE_CHECKING:  # a cluster's job imports this package before its worker loads torch
    from kdbench.running.options import RunOptions
    from kdbench.studies.folder import StudyFolder
    from kdbench.studies.schedule import Executor
    from kdbench.studies.study import Study

EXECUTORS: Final = {
    "local": "kdbench.studies.executors.local",
    "ray": "kdbench.studies.executors.ray",
    "slurm": "kdbench.studies.executors.slurm",
}
"""Name to module."""


class Engine(Protocol):
    """What an executor's module has."""

    def check_settings(self, settings: Mapping[str, Any]) -> object:
        """Raise ``KdbenchError`` for settings that it can't take, and where its package is missing."""

    def make(self, folder: StudyFolder, study: Study, options: RunOptions) -> Executor:
        """The executor of a study. Nothing is started."""


def engine(name: str) -> Engine:
    """The module of an executor.

    Raises:
        KdbenchError: there is none of that name.
    """
    if name not in EXECUTORS:
        raise unknown_name("executor", name, EXECUTORS)
    return cast(Engine, importlib.import_module(EXECUTORS[name]))


def check_engines(study: Study) -> None:
    """Raise ``KdbenchError`` unless the executor of a study, and all that it has settings for, can be used."""
    for name in {study.executor: None} | dict.fromkeys(study.engine):
        engine(name).check_settings(settings_of(study, name))


def make_executor(folder: StudyFolder, study: Study, options: RunOptions) -> Executor:
    """The executor that a study names."""
    return engine(study.executor).make(folder, study, options)


def queued(folder: StudyFolder, study: Study) -> Mapping[str, str]:
    """What the queue of a study's engine says of its nodes, by key; nothing of an engine that has no queue."""
    found = getattr(engine(study.executor), "queued", None)
    return dict(found(folder)) if found else {}


def settings_of(study: Study, name: str) -> dict[str, Any]:
    """``[engine.<name>]`` of a study, over that of the user's configuration."""
    return {**_configured().get(name, {}), **study.engine.get(name, {})}


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """The user's configuration: ``KDBENCH_CONFIG``, else ``config.toml`` in the XDG folder.

    >>> config_file({"XDG_CONFIG_HOME": "/etc/c"}).as_posix()
    '/etc/c/kdbench/config.toml'
    """
    if named := env.get("KDBENCH_CONFIG"):
        return Path(named)
    xdg = env.get("XDG_CONFIG_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".config") / "kdbench" / "config.toml"


def _configured() -> dict[str, dict[str, Any]]:
    """Its ``[engine.<name>]`` tables, none where there is no such file."""
    from kdbench.toml_files import read_toml  # pydantic, which the command line's options go without

    path = config_file()
    if not path.exists():
        return {}
    values = read_toml(path, str(path), hint="fix it, or remove it")
    for key in values:
        if key != "engine":
            raise unknown_name(f"table of {path}", key, ["engine"])
    engines = values.get("engine", {})
    for name, table in engines.items() if isinstance(engines, dict) else [("engine", engines)]:
        if name not in EXECUTORS:
            raise unknown_name("executor", name, EXECUTORS, f"in {path}")
        if not isinstance(table, dict):
            raise KdbenchError(f"{path}: {name} is no table", f"write [engine.{name}]")
    return dict(engines)
