"""What is installed, by name: for lists and misspelt names, which need no plugin's code.

Kept in the user's cache folder with all that decided it (``kdbench.memo``), because to load every plugin loads torch.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import memo
from kdbench.plugin.registry import Registry

if TYPE_CHECKING:
    from kdbench.plugin.loader import Plugins

KIND = "installed"
MOST = 12
"""Installations and environments that are kept: a user has a few, and each takes some 700 kB."""


@dataclasses.dataclass(frozen=True)
class Line:
    """What a list says of one thing."""

    written: str
    """How it is asked for: its name, and of a family of attacks that of a member behind it."""
    summary: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What the installed plugins brought, by name."""

    registries: Mapping[str, Registry[Line]]
    """By kind: "method", "label noise", ..."""
    loaded: dict[str, str]
    """As of ``Plugins``."""
    failures: list[dict[str, str]]
    """Plugins that were left out: ``plugin``, ``from``, ``error``."""
    installation: str
    """Hash of all that decided this; "" where it can't be known for sure."""
    news: str
    """Why it was made anew, "" where it was kept."""
    situation: str
    """Hash of ``memo.situation`` when it was asked for: imports may change the environment."""

    def require(self, kind: str, names: Iterable[str]) -> None:
        """Raise ``KdbenchError`` for a name that none or several plugins bring, as the plugins' own registry does."""
        for name in names:
            self.registries[kind].get(name)


def catalogue() -> Catalogue:
    """What is installed: as it was kept, where nothing has changed since, else from the plugins."""
    situation = memo.situation()
    kept = memo.recall(KIND, situation)
    if kept is None:
        return _look(situation, "nothing was kept of this installation yet")
    path = memo.changed(kept["marks"])
    if path is not None:
        return _look(situation, f"{path} has changed")
    return _catalogue(kept["values"], kept["installation"], "", situation)


def _look(situation: Any, news: str) -> Catalogue:
    """Load the plugins, and keep what they bring with all that was read for it."""
    seen_whole = not _begun()
    from kdbench.plugin.loader import load_plugins

    with memo.Watch() as watch:
        plugins = load_plugins()
        values = _values(plugins)
        for folder in _packages(plugins):
            for path in memo.tree(folder):
                watch.saw(path)
    marks = watch.marks() if seen_whole else None
    if marks is None:
        return _catalogue(values, "", news, situation)
    installation = memo.digest([situation, marks])
    memo.keep(KIND, situation, {"values": values, "marks": marks, "installation": installation}, MOST)
    return _catalogue(values, installation, news, situation)


def _begun() -> bool:
    """Whether plugins may have been loaded already, so that what they read was not seen: their base imports torch."""
    return "torch" in sys.modules


def _packages(plugins: Plugins) -> list[str]:
    """The folders of the packages that hold plugins, kdbench's own among them."""
    modules = [module.__name__.partition(".")[0] for module in plugins.manager.get_plugins()]
    tops = [sys.modules[name] for name in dict.fromkeys(["kdbench", *modules])]
    return [folder for top in tops for folder in getattr(top, "__path__", ())]


def _values(plugins: Plugins) -> dict[str, Any]:
    """The catalogue as JSON values."""
    return {
        "kinds": {
            registry.kind: {
                "notes": registry.notes,
                "clashes": registry.clashes(),
                "lines": [
                    [name, getattr(entry, "written", name), _summary(registry.kind, entry), registry.origin(name)]
                    for name in registry
                    for entry in [registry.get(name)]
                ],
            }
            for registry in plugins.registries()
        },
        "loaded": plugins.loaded,
        "failures": [{"plugin": f.plugin, "from": f.origin, "error": f.error} for f in plugins.failures],
    }


def _catalogue(values: Mapping[str, Any], installation: str, news: str, situation: Any) -> Catalogue:
    registries = {}
    for kind, found in values["kinds"].items():
        registry = registries[kind] = Registry[Line](kind)
        registry.notes = found["notes"]
        for name, written, summary, origin in found["lines"]:
            registry.add(name, Line(written, summary), origin)
        for name, origins in found["clashes"].items():
            for origin in origins:
                registry.add(name, Line(name, ""), origin)
    digest = memo.digest(situation)
    return Catalogue(registries, values["loaded"], values["failures"], installation, news, digest)


def _summary(kind: str, entry: Any) -> str:
    """What a thing is, in a sentence or two; of a file that can't be read, why."""
    from kdbench.errors import KdbenchError
    from kdbench.plugin.docs import summary
    from kdbench.reproducing.reading import read_reproduction
    from kdbench.suites.reading import read_suite

    if isinstance(entry, Path):
        try:
            return read_reproduction(entry).title if kind == "reproduction" else read_suite(entry).title
        except KdbenchError as error:
            return str(error)
    text = getattr(entry, "summary", None) or getattr(entry, "description", None)
    return summary(text or getattr(entry, "sentence", None) or type(entry).__doc__)
