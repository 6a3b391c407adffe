"""Files of ``torch.save``, read so that nothing in them is ever run.

``torch.load(weights_only=True)`` refuses what is not a tensor, a number, text or a plain container. A training script
saves more than that beside the weights: NumPy's numbers, its arguments, its own classes. For each of these a stand-in
is read that holds what the file says and has no code.
"""

from __future__ import annotations

import pickletools
import sys
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch

from kdbench.checkpoints.arrays import STORED
from kdbench.checkpoints.formats import damaged
from kdbench.errors import KdbenchError
from kdbench.torch_state import exclusive

_KIND = "kdbench_stand_in_for"

_HARMLESS = {
    *("argparse", "collections", "pathlib", "datetime", "decimal", "fractions", "uuid", "enum", "zoneinfo", "random"),
    *("typing", "abc", "dataclasses", "numbers", "re", "string", "logging", "inspect", "types.SimpleNamespace"),
    *("functools.partial", "copyreg._reconstructor", "time.struct_time"),
    *(f"builtins.{name}" for name in ("object", "slice", "range", "frozenset", "int", "float", "str", "list", "dict")),
    *(f"builtins.{name}" for name in ("tuple", "bool", "bytes", "type", "set", "complex", "bytearray")),
    "_codecs.encode",  # how bytes are written
}
"""Modules and names of the standard library that scripts save as data; all else of it is there to be run."""


def kind_of_object(value: Any) -> str | None:
    """The class that ``value`` stands in for, as ``models.wrn.WideResNet``; None where it is no stand-in."""
    return value.__dict__.get(_KIND) if type(value) is OrderedDict else None


def is_module(value: Any) -> bool:
    """Whether ``value`` stands in for a module that was pickled as a whole."""
    return kind_of_object(value) is not None and "_parameters" in value.__dict__


def load_pickled(path: Path, kind: str) -> tuple[Any, list[str]]:
    """What ``torch.save`` wrote to a file of ``kind`` ``zip`` or ``legacy``, and the classes that were not read.

    Raises:
        KdbenchError: it asks for functions of the standard library or of the system, is damaged, or is no such file.
    """
    names = _globals(path, kind)
    running = sorted(name for name in names if _runs(name))
    if running:
        raise _unsafe(path, running)
    met: dict[str, None] = {}
    admitted = [(STORED.get(name) or _stand_in(name, met), name) for name in names]
    admitted += [(made, f"{__name__}.{made.__name__}") for made in _MADE.values()]
    before = torch.serialization.get_safe_globals()
    try:
        with (
            exclusive(),
            warnings.catch_warnings(),
            torch.serialization.safe_globals([pair for pair in admitted if pair not in before]),
        ):
            warnings.simplefilter("ignore")  # torch's warning of old pickle protocols; what matters is said below
            return torch.load(path, map_location="cpu", weights_only=True), sorted(met)
    except MemoryError:
        raise
    except Exception as error:  # whatever a file that is no checkpoint makes the reader stumble over
        raise _unreadable(path, error, names) from None


def _unreadable(path: Path, error: Exception, names: set[str]) -> KdbenchError:
    if "Unsupported operand" in str(error):
        return KdbenchError(
            f"checkpoint {path} is damaged, or pickled in a way that torch's safe reader doesn't know",
            "save it again with torch.save and its own pickle_protocol, best as safetensors",
        )
    usual = ("torch.", "numpy.", "collections.", "builtins.", "__builtin__.", "_codecs.", "copy_reg.", "copyreg.")
    others = sorted(name for name in names if not name.startswith(usual))
    if any(name.startswith("torch.nn.modules.") for name in names):
        return whole_module(path, ", ".join(others) or "of torch.nn")
    if others:
        return _unsafe(path, others)
    return damaged(path, error)


def whole_module(path: Path, name: str) -> KdbenchError:
    """The error for a file that holds a pickled module of class ``name`` rather than its tensors."""
    return KdbenchError(
        f"checkpoint {path} holds a whole pickled module, {name}, and reading it would run its code",
        "where that code is, torch.save(model.state_dict(), ...), and give what it writes",
    )


def _unsafe(path: Path, names: list[str]) -> KdbenchError:
    return KdbenchError(
        f"checkpoint {path} holds more than tensors ({', '.join(names[:3])}), and reading it could run code",
        "save model.state_dict() alone, best as safetensors",
    )


def _runs(name: str) -> bool:
    # A file has the names of Python 2, or of Python 3: both mean the same.
    module, _, member = name.rpartition(".")
    module, member = NAME_MAPPING.get((module, member), (IMPORT_MAPPING.get(module, module), member))
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names and root != "nt":  # the system's on Windows
        return False
    return not {root, f"{module}.{member}"} & _HARMLESS


class _Opaque:
    """In the place of a partial function, whose state is no dict."""

    def __setstate__(self, state: object) -> None:
        """Drop it."""


_MADE: dict[str, type] = {"collections.deque": list, "functools.partial": _Opaque}
"""What stands in for objects that a file doesn't fill as it fills a dict; torch's reader wants each in its own way, and
extends nothing but lists themselves, which take no note of what they stand in for."""


def _stand_in(name: str, met: dict[str, None]) -> type:
    """A class whose instances have no code and hold what the file says: ordered dicts that remember ``name``.

    Names that were made use of are noted in ``met``.
    """

    def new(cls: type, *arguments: Any) -> Any:
        met[name] = None
        made = _MADE.get(name, OrderedDict)()
        if not isinstance(made, list):
            made.__dict__[_KIND] = name
        return made

    return type("StandIn", (), {"__new__": new})


def _globals(path: Path, kind: str) -> set[str]:
    """Names of the classes and functions that a file asks for, beyond those that torch admits; nothing is loaded."""
    try:
        if kind == "zip":
            return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with path.open("rb") as file:
            return _legacy_globals(file)
    except Exception:  # a damaged file; the reader stumbles over it too, and what it says is reported
        return set()


def _legacy_globals(file: BinaryIO) -> set[str]:
    """The file begins with five pickles: a number, a version, the system, what was saved, and names of its storages."""
    names = set()
    for _ in range(5):
        for opcode, argument, _position in pickletools.genops(file):
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                # Written are Python 2's names; torch looks for most of them by those of Python 3.
                names |= {f"{module}.{name}", f"{IMPORT_MAPPING.get(module, module)}.{name}"}
                names |= {".".join(NAME_MAPPING.get((module, name), (module, name)))}
    return names
