"""What all code of a process shares and each must leave to the next as it found it: torch's settings and functions.

A method that sets the number of threads, the default dtype or a flag of determinism, or replaces ``cross_entropy``,
changes every training after its own, under the digest of another method. Here it is found out, undone, and named.
It is a guard against mistakes: who wants to hide a change from it can.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

Namespace = types.ModuleType | type[Any]

MODULES = frozenset({"torch", "torch._tensor", "torch.functional", "torch.nn.functional", "torch.nn.init"})
PACKAGES = ("torch.nn.modules.", "torch.optim.", "kdbench.")
"""Whose functions and classes are watched: some modules, and all in some packages."""

_code = operator.attrgetter("__code__")
Access = tuple[Callable[[], Any], Callable[[Any], Any]]


def _attributes(owner: Any, names: Sequence[str]) -> Access:
    def write(kept: Mapping[str, Any]) -> None:
        for name, value in kept.items():
            setattr(owner, name, value)

    return lambda: {name: getattr(owner, name) for name in names}, write


SETTINGS: Mapping[str, Access] = {
    "torch's threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (
        torch.get_default_device,
        lambda kept: torch.set_default_device(None if kept == torch.device("cpu") else kept),
    ),
    "whether torch records gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic algorithms": (
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda kept: torch.use_deterministic_algorithms(kept[0], warn_only=kept[1]),
    ),
    "torch's precision of products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "torch.backends.cudnn": _attributes(torch.backends.cudnn, ("enabled", "benchmark", "deterministic")),
    "torch.backends.cuda.matmul": _attributes(
        torch.backends.cuda.matmul,
        ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"),
    ),
}
"""What is shared, in words, to how it is read and written."""


class SharedStateError(Exception):
    """Somebody changed what all code of the process shares; it is undone."""


@contextlib.contextmanager
def left_alone(who: str) -> Iterator[Callable[[], None]]:
    """Whoever runs in the block leaves what is shared as it was; yields a function that checks it in between.

    Raises:
        SharedStateError: it was changed, with what, and ``who`` is to blame. It is as it was again.
    """
    state = SharedState.take()
    try:
        yield lambda: state.check(who)
    except BaseException:
        state.undo()
        raise
    state.check(who)


@dataclasses.dataclass(frozen=True)
class _Held:
    """What a module or class held at some time."""

    namespace: Namespace
    names: frozenset[str]
    values: dict[str, Any]
    """Of these what counts: functions, classes and what is looked up like them."""
    functions: tuple[types.FunctionType, ...]
    codes: tuple[types.CodeType, ...]

    @classmethod
    def of(cls, namespace: Namespace) -> _Held:
        """Now."""
        now = vars(namespace)
        values = {name: one for name, one in now.items() if _counts(one)}
        functions = tuple(one for one in values.values() if type(one) is types.FunctionType)
        return cls(namespace, frozenset(now), values, functions, tuple(map(_code, functions)))

    def holds(self) -> bool:
        """Whether it is so still; compared without a step of Python's each, as there are ten thousands."""
        now = vars(self.namespace)
        return all(map(operator.is_, map(now.get, self.values), self.values.values())) and all(
            map(operator.is_, map(_code, self.functions), self.codes)
        )

    def undo(self) -> Iterator[str]:
        """Make it so again; what had changed, in words."""
        now = vars(self.namespace)
        for name, kept in self.values.items():
            if now.get(name) is not kept and not _by_torch(kept, now.get(name)):
                yield f"{_title(self.namespace)}.{name} was replaced"
                setattr(self.namespace, name, kept)
        for function, code in zip(self.functions, self.codes, strict=True):
            if function.__code__ is not code:
                yield f"{function.__module__}.{function.__qualname__} has other code"
                function.__code__ = code


@dataclasses.dataclass(frozen=True)
class SharedState:
    """How it was at some time."""

    settings: Mapping[str, Any]
    held: list[_Held]

    @classmethod
    def take(cls) -> SharedState:
        """How it is."""
        every: list[Namespace] = []
        for module in _modules():
            every += [module, *_classes(module)]
        return cls({name: read() for name, (read, _) in SETTINGS.items()}, [_held(namespace) for namespace in every])

    def check(self, who: str) -> None:
        """Make it so again, and raise ``SharedStateError`` where that was needed: ``who`` is to blame."""
        changes = self.undo()
        if changes:
            raise SharedStateError(f"{who} changed what all code of the process shares: {'; '.join(changes)}")

    def undo(self) -> list[str]:
        """Make it so again; what had changed, in words."""
        changes = []
        for name, (read, write) in SETTINGS.items():
            kept, found = self.settings[name], read()
            if found != kept:
                changes.append(f"{name}: {kept} before, {found} now")
                write(kept)
        for one in self.held:
            if not one.holds():
                changes += one.undo()
        return changes


_latest: dict[int, _Held] = {}
"""What was found last of each module and class, by its ``id``: most of it is so still, and is not copied again."""


def _held(namespace: Namespace) -> _Held:
    found = _latest.get(id(namespace))
    if found is None or vars(namespace).keys() != found.names or not found.holds():
        found = _latest[id(namespace)] = _Held.of(namespace)
    return found


def _modules() -> list[types.ModuleType]:
    every = list(sys.modules.items())
    return [module for name, module in every if name in MODULES or name.startswith(PACKAGES)]


@functools.cache
def _classes(module: types.ModuleType) -> tuple[type[Any], ...]:
    """That a module defines."""
    name = module.__name__
    return tuple(one for one in list(vars(module).values()) if isinstance(one, type) and one.__module__ == name)


def _counts(kept: Any) -> bool:
    return callable(kept) or isinstance(kept, property | staticmethod | classmethod)


def _by_torch(kept: Any, found: Any) -> bool:
    """torch wraps some functions of its own when they are needed: the step of an optimiser's class by its first
    instance, what its compiler must not look into when that is loaded; and the compiler follows how modules are
    made."""
    maker = getattr(found, "__globals__", {}).get("__name__", "")
    wrapped = getattr(found, "__wrapped__", None) or getattr(found, "_torchdynamo_orig_callable", None)
    return maker.startswith("torch._dynamo.") or (wrapped is kept and maker.startswith("torch."))


def _title(namespace: Namespace) -> str:
    if isinstance(namespace, types.ModuleType):
        return namespace.__name__
    return f"{namespace.__module__}.{namespace.__qualname__}"
