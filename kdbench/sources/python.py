"""A network that a function of the user's own makes: ``package.module:build``."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from kdbench.errors import KdbenchError, unknown_name
from kdbench.hashes import state_sha256
from kdbench.sources.spec import ModelRequest, OpenedModel


def open_python(what: str, request: ModelRequest) -> OpenedModel:
    """What ``build()`` returns, with its weights; modules are looked for in the working folder too.

    It is called without arguments. What it raises by itself passes, as it is the caller's own code.
    """
    name, _, attribute = what.partition(":")
    if not attribute:
        raise KdbenchError(f"'{what}' names no function", "write package.module:build")
    with _working_folder():
        build = _found(name, attribute, request.plugins.model_sources)
        network = build if isinstance(build, nn.Module) else build()
    if not isinstance(network, nn.Module):
        raise KdbenchError(f"{what} returned a {type(network).__name__}", "return the torch.nn.Module")
    return OpenedModel(network, f"python:{what}", state_sha256(network.state_dict()))


def _found(name: str, attribute: str, sources: Iterable[str]) -> Callable[[], object]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise unknown_name(
                "model source or module", name, sources, f"modules are looked for in {Path.cwd()} too"
            ) from None
        raise
    try:
        found = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError:
        raise KdbenchError(f"module '{name}' has no '{attribute}'", "write package.module:build") from None
    if not callable(found):
        raise KdbenchError(f"{name}:{attribute} is a {type(found).__name__}", "name a function without arguments")
    return found


@contextmanager
def _working_folder() -> Iterator[None]:
    """Have the working folder on the path of imports, as ``python -m`` has it."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
