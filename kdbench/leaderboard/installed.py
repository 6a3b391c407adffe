"""What is installed here under a name that a record gives. The name is untrusted: it is looked up, never a path."""

from __future__ import annotations

from kdbench.errors import KdbenchError
from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Suite, read_suite


def installed_method(name: str) -> MethodSpec | None:
    """The method of this name, None where there is none or several."""
    return load_plugins().methods.find(name)


def installed_suite(name: str) -> Suite | None:
    """The suite of this name, None where there is none or several."""
    path = load_plugins().suites.find(name)
    try:
        return None if path is None else read_suite(path)
    except KdbenchError:
        return None
