"""A registry of named things that remembers who brought each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from kdbench.errors import KdbenchError, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind ("method", "task", ...); each entry knows the distribution that brought it.

    A name that two distributions bring belongs to neither: asking for it is an error that names both, and every
    other name goes on working.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.notes = ""
        self._entries: dict[str, list[tuple[T, str]]] = {}

    def add(self, name: str, entry: T, origin: str) -> None:
        """Register ``entry`` under ``name`` as brought by the distribution ``origin``."""
        self._entries.setdefault(name, []).append((entry, origin))

    def get(self, name: str) -> T:
        """The entry of that name; a miss is an error with the nearest right name."""
        return self._only(name)[0]

    def find(self, name: str) -> T | None:
        """The entry of that name, None where there is none or several: for names that an untrusted file gives."""
        found = self._entries.get(name, [])
        return found[0][0] if len(found) == 1 else None

    def origin(self, name: str) -> str:
        """The distribution that registered ``name``."""
        return self._only(name)[1]

    def _only(self, name: str) -> tuple[T, str]:
        found = self._entries.get(name)
        if not found:
            advice = f"`kdbench list {self.kind.replace(' ', '-')}s` shows all"
            raise unknown_name(self.kind, name, self._entries, f"{advice}{self.notes}")
        if len(found) > 1:
            raise clash(self.kind, name, [origin for _, origin in found])
        return found[0]

    def clashes(self) -> dict[str, list[str]]:
        """Names that more than one plugin brought, each with the distributions that brought it."""
        return {name: [origin for _, origin in found] for name, found in self._entries.items() if len(found) > 1}

    def names(self) -> list[str]:
        """All usable names, sorted."""
        return sorted(name for name, found in self._entries.items() if len(found) == 1)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def clash(kind: str, name: str, origins: list[str]) -> KdbenchError:
    """The error for one name brought by several distributions."""
    brought = " and ".join(f"'{origin}'" for origin in origins)
    return KdbenchError(
        f"two plugins bring a {kind} named '{name}': {brought}",
        "uninstall one of them, or ask its author for another name",
    )
