"""What is installed here under a name that a record gives. The name is untrusted: it is looked up, never a path."""

from __future__ import annotations

from kdbench.errors import KdbenchError
from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Suite, read_suite


def installed_method(name: str) -> MethodSpec | None:
    """The method of this name, None where there is none or several."""
    try:
        return load_plugins().methods.get(name)
    except KdbenchError:
        return None


def installed_suite(name: str) -> Suite | None:
    """The suite of this name, None where there is none or several."""
    try:
        return read_suite(load_plugins().suites.get(name))
    except KdbenchError:
        return None
