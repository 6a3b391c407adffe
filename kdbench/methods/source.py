"""Which source files decide what a method or a network is, and their hash."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

CORE = "kdbench"


def source_hash(target: Callable[..., Any]) -> str:
    """SHA-256 of the file that defines a function or class and of what it imports from its own surroundings.

    These are modules of its package, and of other packages that are written for kdbench. kdbench itself is not among
    them: what it does to a result has versions. For a network of kdbench's own it is its folder alone. "unknown" for
    what has no file (a console).
    """
    while isinstance(target, functools.partial):
        target = target.func
    module = inspect.getmodule(target)
    if module is None or _file(module) is None:
        return "unknown"
    found: dict[str, ModuleType] = {}
    _collect(module, module, found)
    hashes = {name: hashlib.sha256(_source(found[name])).hexdigest() for name in sorted(found)}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("\n".join(f"{name} {value}" for name, value in hashes.items()).encode()).hexdigest()


def _collect(module: ModuleType, start: ModuleType, found: dict[str, ModuleType]) -> None:
    found[module.__name__] = module
    for name in _imports(module):
        imported = sys.modules.get(name)
        if imported is not None and name not in found and _file(imported) and _concerns(imported, start):
            _collect(imported, start, found)


def _concerns(module: ModuleType, start: ModuleType) -> bool:
    """Whether a module that is imported, directly or not, is part of what ``start`` defines."""
    own = _root(start.__name__)
    if _root(module.__name__) == CORE:
        return own == CORE and module.__name__.startswith(f"{start.__package__}.")
    if _root(module.__name__) == own:
        return True
    # Looked for first, because to parse all of torch for every method takes seconds.
    return CORE.encode() in _source(module) and any(_root(name) == CORE for name in _imports(module))


def _imports(module: ModuleType) -> tuple[str, ...]:
    """Names of modules that a module's file imports, and names in them that may be modules."""
    return _imported(_source(module), module.__package__)


@functools.lru_cache(maxsize=1024)
def _imported(source: bytes, package: str | None) -> tuple[str, ...]:
    """The same of a file of a package. Methods of one package have most of their files in common."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name: None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = resolve_name("." * node.level + base, package)
            found |= {base: None, **{f"{base}.{alias.name}": None for alias in node.names}}
    return tuple(found)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file and file.endswith(".py") and Path(file).exists() else None


def _source(module: ModuleType) -> bytes:
    file = _file(module)
    return file.read_bytes() if file else b""
