"""The standard settings, as data: one TOML file a suite, and how one is found."""

from __future__ import annotations

from pathlib import Path

from kdbench.plugin.loader import load_plugins
from kdbench.specs import Suite
from kdbench.suites.label_files import with_hashes
from kdbench.suites.reading import read_suite

FOLDER = Path(__file__).parent


def builtin_suites() -> list[Path]:
    """The suite files that come with kdbench."""
    return sorted(FOLDER.glob("*.toml"))


def suite_file(name: str) -> Path:
    """The file of a suite, by its registered name or by a path of one's own."""
    return Path(name) if name.endswith(".toml") else load_plugins().suites.get(name)


def load_suite(name: str | Suite) -> Suite:
    """A suite by its registered name, by the path of a TOML file of one's own, or as it is."""
    return with_hashes(name, f"suite '{name.name}'") if isinstance(name, Suite) else read_suite(suite_file(name))
