"""The standard settings, as data: one TOML file a suite, and how one is found."""

from __future__ import annotations

from pathlib import Path

from kdbench.plugin.loader import load_plugins
from kdbench.specs import Suite, read_suite

FOLDER = Path(__file__).parent


def builtin_suites() -> list[Path]:
    """The suite files that come with kdbench."""
    return sorted(FOLDER.glob("*.toml"))


def load_suite(name: str | Suite) -> Suite:
    """A suite by its registered name, by the path of a TOML file of one's own, or as it is."""
    if isinstance(name, Suite):
        return name
    if name.endswith(".toml"):
        return read_suite(Path(name))
    return read_suite(load_plugins().suites.get(name))
