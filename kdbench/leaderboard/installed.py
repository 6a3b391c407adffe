"""What is installed here under a name that a record gives. The name is untrusted: it is looked up, never a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Suite
from kdbench.suites.changes import with_changes
from kdbench.suites.reading import read_suite


def installed_method(name: str) -> MethodSpec | None:
    """The method of this name, None where there is none or several."""
    return load_plugins().methods.find(name)


def installed_suite(name: str, changes: Mapping[str, Any] | None = None) -> Suite | None:
    """The suite of this name with what a record changed of it, None where there is none or several, or where it cannot
    be changed so."""
    path = load_plugins().suites.find(name)
    try:
        return None if path is None else with_changes(read_suite(path), changes or {})
    except KdbenchError:
        return None


def installed_classes(dataset: str, count: int) -> tuple[str, ...]:
    """The names of ``count`` classes of the data set of this name; their numbers where it is none of that many."""
    found = load_plugins().datasets.find(dataset)
    names = () if found is None else found.class_names
    return names if len(names) == count else tuple(map(str, range(count)))
